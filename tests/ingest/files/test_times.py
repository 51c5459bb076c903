from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from ingest.files.repeated_hours import RepeatedHours
from ingest.files.times import LocalTimes, TimeFormat, UnreadableTime, format_hint

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 2, 12, 12)  # noqa: DTZ001 - as in a file


@pytest.mark.parametrize(
    ("text", "format_", "expected"),
    [
        ("12.02.2026 12:00", "%d.%m.%Y %H:%M", NOON),
        ("02/12/26 12:00 PM", "%m/%d/%y %I:%M %p", NOON),
        ("11.02.2026 24:00", "%d.%m.%Y %H:%M", NOON - timedelta(hours=12)),
        ("11.02.2026 24:00:00", "%d.%m.%Y %H:%M:%S", NOON - timedelta(hours=12)),
        ("2026-02-11 24:00", None, NOON - timedelta(hours=12)),
        (" 2026-02-12 12:00 ", None, NOON),
        ("1770897600", None, 1_770_897_600.0),
        (1_770_897_600_000, None, 1_770_897_600_000.0),
        (NOON, "%H", NOON),
    ],
)
def test_times(text: object, format_: str | None, expected: object) -> None:
    assert TimeFormat(pattern=format_).parse(text) == expected


@pytest.mark.parametrize("text", [None, "", "Total", "12.02.2026", "2026-02-30", True, b"x", "2026-02-12\0", "24:00"])
@pytest.mark.parametrize("format_", [None, "%d.%m.%Y %H:%M"])
def test_what_is_no_time_has_a_reason(text: object, format_: str | None) -> None:
    with pytest.raises(UnreadableTime) as error:
        TimeFormat(pattern=format_).parse(text)
    assert str(error.value).isprintable()


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)), st.sampled_from(  # noqa: DTZ001 - as in a file
    ["%d.%m.%Y %H:%M", "%d.%m.%Y, %H:%M:%S", "%d.%m.%y", "%d/%m/%Y %I:%M %p", "%d/%m/%Y %I:%M:%S%p"]
))  # fmt: skip
def test_the_hint_is_a_format_that_reads_the_text(time: datetime, format_: str) -> None:
    text = time.strftime(format_)
    hint = format_hint(text)
    assert hint
    assert hint.split(" or ")[0].strip("'") == format_


def local_texts(first: datetime, count: int, step: timedelta) -> tuple[list[datetime], list[datetime]]:
    """Moments in UTC, and what a clock in Berlin showed."""
    moments = [first + i * step for i in range(count)]
    return moments, [moment.astimezone(BERLIN).replace(tzinfo=None, fold=0) for moment in moments]


@given(
    start=st.integers(-36, 4),
    step=st.sampled_from([1, 5, 15, 20, 30, 60]),
    descending=st.booleans(),
    year=st.integers(2000, 2025),
)
def test_regular_times_over_the_autumn_change_are_found_in_both_directions(
    start: int, step: int, descending: bool, year: int
) -> None:
    """A file that begins before the repeated hour in its direction, at any cadence that the hour is a multiple of."""
    end_of_summer = max(
        datetime(year, 10, day, 1, tzinfo=UTC)
        for day in range(25, 32)
        if datetime(year, 10, day, tzinfo=UTC).weekday() == 6
    )
    first = end_of_summer - timedelta(hours=3) + timedelta(minutes=step * min(start, 0))
    moments, texts = local_texts(first, 8 * 60 // step - min(start, 0), timedelta(minutes=step))
    if descending:
        moments, texts = moments[::-1], texts[::-1]
    clock = LocalTimes(BERLIN, descending=descending)
    assert [clock.resolve(text) for text in texts] == moments


def resolved(texts: list[datetime], *, descending: bool) -> tuple[list[datetime], list[int]]:
    """The moments that a file's times become, and the lines at which a repeated hour is not known."""
    hours = RepeatedHours(BERLIN)
    for line, text in enumerate(texts):
        hours.add(text, line)
    halves = hours.halves(descending=descending)
    clock = LocalTimes(BERLIN, descending=descending, halves=halves)
    found = [clock.resolve(text, line) for line, text in enumerate(texts)]
    return found, [half.lines.start for half in halves if not half.is_known]


@given(
    first=st.integers(0, 120),
    last=st.integers(0, 120),
    step=st.sampled_from([5, 15, 20, 30, 60]),
    descending=st.booleans(),
)
def test_a_file_may_begin_or_end_within_the_repeated_hour(first: int, last: int, step: int, descending: bool) -> None:
    """A part of regular times from an hour before to an hour after the change, with a row beside the repeated hour."""
    begin = datetime(2026, 10, 25, 0, tzinfo=UTC) - timedelta(minutes=120 - first // step * step)
    count = (last // step * step + 240 - first // step * step) // step
    moments, texts = local_texts(begin, max(count, 1), timedelta(minutes=step))
    # A file of one of the two hours, with the rows on one side of it.
    parts = [
        [m for m in moments if m < datetime(2026, 10, 25, 1, tzinfo=UTC)],
        [m for m in moments if m >= datetime(2026, 10, 25, 1, tzinfo=UTC)],
    ]
    for part in (moments, *parts):
        if all(datetime(2026, 10, 25, 0, tzinfo=UTC) <= m < datetime(2026, 10, 25, 2, tzinfo=UTC) for m in part):
            continue
        texts = [m.astimezone(BERLIN).replace(tzinfo=None, fold=0) for m in part]
        if descending:
            assert resolved(texts[::-1], descending=True) == (part[::-1], [])
        else:
            assert resolved(texts, descending=False) == (part, [])


def at(*clock: str) -> list[datetime]:
    return [datetime.fromisoformat(f"2026-10-25T{text}") for text in clock]


@pytest.mark.parametrize(
    ("clock", "first", "is_known"),
    [
        (("01:45", "02:00", "02:15", "02:30", "02:45", "03:00", "03:15"), "00:00", False),  # one hour is missing
        (("02:00", "02:15"), "00:00", False),
        (("02:00", "02:15", "02:30", "02:45", "03:00"), "01:00", True),
        (("22:00", "00:00", "02:00", "04:00"), "00:00", False),
        (("22:00", "00:00", "02:00", "03:00", "05:00"), "00:00", True),
        (("23:00", "01:00", "02:00", "04:00", "06:00"), "01:00", True),
        (("20:00", "02:15", "02:30", "02:45", "03:00"), "01:15", True),
    ],
)
@pytest.mark.parametrize("descending", [False, True])
def test_an_hour_that_comes_once_is_the_one_without_a_gap(
    clock: tuple[str, ...], first: str, is_known: bool, descending: bool
) -> None:
    texts = at(*clock)
    if texts[0].hour > 12:
        texts[0] -= timedelta(days=1)
    found, unknown = resolved(texts[::-1] if descending else texts, descending=descending)
    moments = found[::-1] if descending else found
    repeated = next(i for i, text in enumerate(texts) if text.hour == 2)
    assert f"{moments[repeated]:%H:%M}" == first
    assert (unknown == []) is is_known


def test_a_second_series_begins_anew() -> None:
    """The same device's rows once more, as after the end of a file that was joined to another."""
    moments, texts = local_texts(datetime(2025, 10, 25, 22, tzinfo=UTC), 20, timedelta(minutes=15))
    clock = LocalTimes(BERLIN, descending=False)
    assert [clock.resolve(text) for text in [*texts, *texts]] == [*moments, *moments]


def test_an_hour_that_the_zone_skips_has_a_reason() -> None:
    with pytest.raises(UnreadableTime, match="non-existing local time, which Europe/Berlin skips"):
        LocalTimes(BERLIN, descending=False).resolve(datetime(2026, 3, 29, 2, 30))  # noqa: DTZ001 - as in a file
    with pytest.raises(UnreadableTime, match="out of range"):
        LocalTimes(BERLIN, descending=False).resolve(datetime(1, 1, 1))  # noqa: DTZ001 - as in a file
