"""When scheduled reports are due, and what they cover, with changes of the clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from assets.reports import due_until, next_due, reported_period

PARIS = ZoneInfo("Europe/Paris")
FREQUENCIES = ("daily", "weekly", "monthly")


@pytest.mark.parametrize(
    ("frequency", "after", "due", "period"),
    [
        ("daily", "2026-02-12T06:00", "2026-02-13T06:00", ("2026-02-12", "2026-02-13")),
        ("daily", "2026-02-12T05:59", "2026-02-12T06:00", ("2026-02-11", "2026-02-12")),
        ("weekly", "2026-02-12T12:00", "2026-02-16T06:00", ("2026-02-09", "2026-02-16")),
        ("monthly", "2026-02-01T06:00", "2026-03-01T06:00", ("2026-02-01", "2026-03-01")),
        ("monthly", "2025-12-31T23:00", "2026-01-01T06:00", ("2025-12-01", "2026-01-01")),
    ],
)
def test_reports_are_due_by_the_sites_clock(frequency: str, after: str, due: str, period: tuple[str, str]) -> None:
    due_at = next_due(frequency, "06:00", PARIS, datetime.fromisoformat(after).replace(tzinfo=PARIS))
    assert due_at == datetime.fromisoformat(due).replace(tzinfo=PARIS)
    assert due_at.tzinfo is UTC
    assert reported_period(frequency, PARIS, due_at) == tuple(
        datetime.fromisoformat(day).replace(tzinfo=PARIS) for day in period
    )


def test_the_day_of_a_clock_change_has_its_own_length() -> None:
    start, end = reported_period("daily", PARIS, datetime(2026, 3, 30, 4, tzinfo=UTC))
    assert (end - start, start) == (timedelta(hours=23), datetime(2026, 3, 28, 23, tzinfo=UTC))
    skipped = next_due("daily", "02:30", PARIS, datetime(2026, 3, 28, 23, tzinfo=UTC))
    assert skipped == datetime(2026, 3, 29, 1, 30, tzinfo=UTC), "02:30 does not exist; 03:30 is due instead"


@given(
    frequency=st.sampled_from(FREQUENCIES),
    send_at=st.times().map(lambda time: f"{time:%H:%M}"),
    zone=st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    after=st.integers(0, 20 * 366 * 24 * 60).map(lambda m: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=m)),
)
def test_periods_follow_each_other_without_gap_or_overlap(
    frequency: str, send_at: str, zone: str, after: datetime
) -> None:
    place = ZoneInfo(zone)
    first = next_due(frequency, send_at, place, after)
    second = next_due(frequency, send_at, place, first)
    assert after < first < second
    assert due_until(frequency, send_at, place, first, second) == [first, second]
    assert due_until(frequency, send_at, place, first, second - timedelta(seconds=1)) == [first]
    one, other = (reported_period(frequency, place, due) for due in (first, second))
    assert one[0] < one[1] == other[0] < other[1]
    assert one[1] <= first, "a period is over when its report is due"
