"""What reports advise, how they compare periods, and the load that they show."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from assets.energy import STATES, StateFigures
from assets.energy.cells import MILLIONTHS
from assets.reports.comparison_periods import earlier_periods
from assets.reports.content import ReportContent
from assets.reports.document import markdown_of
from assets.reports.inputs import Earlier
from assets.reports.measures import Measured
from storage.times import HOUR as HOUR_LONG, microseconds
from tests.assets.reports.test_markdown import unescaped
from tests.support.report_factories import DAY, HOUR, MINUTE, PARIS, bare, content_of, steady, table

MONDAY = datetime(2026, 2, 2, tzinfo=PARIS)
WEEK = MONDAY + 7 * DAY


def machine(start: datetime, end: datetime, night: float = 1000.0, day: float = 5000.0) -> Any:
    """Readings of a machine that works from 6 to 22 o'clock."""
    times = [start + i * 5 * MINUTE for i in range(round((end - start) / (5 * MINUTE)))]
    power = [day if 6 <= time.astimezone(PARIS).hour < 22 else night for time in times]
    return table("D1", times, {"power": power})


def working(start: datetime, days: int) -> list[tuple[int, int]]:
    return [(microseconds(start + i * DAY + 6 * HOUR), microseconds(start + i * DAY + 22 * HOUR)) for i in range(days)]


def test_energy_outside_working_hours_is_advice() -> None:
    data = bare(MONDAY, WEEK, machine(MONDAY, WEEK), working=working(MONDAY, 7), cadence_seconds=300.0)
    advice = content_of(data).advice[0]
    assert (advice.kind, advice.confidence) == ("outside_hours", "high")
    assert advice.energy_kwh == pytest.approx(7 * 8, rel=0.03)
    assert advice.figures["mean_power_w"] == pytest.approx(1000, rel=0.03)
    assert advice.figures["share"] == pytest.approx(8 / 88, rel=0.03)
    assert "Outside working hours" in advice.text
    assert "Measured for 7 d" in advice.reason.replace("\u00a0", " ")


def test_a_year_outside_working_hours_is_of_its_calendar_and_not_of_a_few_days() -> None:
    data = bare(MONDAY, WEEK, machine(MONDAY, WEEK), working=working(MONDAY, 7), outside_hours_of_year=2920.0)
    assert "year_kwh" not in content_of(data).advice[0].figures
    end = MONDAY + 29 * DAY
    long = replace(data, end=end, readings=machine(MONDAY, end), working=working(MONDAY, 29))
    advice = content_of(long).advice[0]
    assert advice.figures["year_kwh"] == pytest.approx(2920, rel=0.03)
    assert "a year" in advice.text


def test_a_single_reading_in_days_is_advice_to_repair_the_data() -> None:
    data = bare(MONDAY, WEEK, table("D1", [MONDAY + DAY], {"power": [1000.0]}))
    (advice,) = content_of(data).advice
    assert (advice.kind, advice.energy_kwh) == ("data", None)
    assert "Readings are missing for 7 d. What was used meanwhile is unknown." in advice.text.replace("\u00a0", " ")


def test_a_usual_band_of_another_kind_of_device_is_not_judged_by() -> None:
    times = [MONDAY + i * 5 * MINUTE for i in range(7 * 288)]
    readings = table(
        "D1", times, {"power": [1000.0] * len(times), "voltage": [400.0 + i % 2 for i in range(len(times))]}
    )
    bands = {"voltage": (200.0, 250.0)}
    content = content_of(bare(MONDAY, WEEK, readings, bands=bands, usual_bands=bands, cadence_seconds=300.0))
    assert content.advice == []
    assert "band of 200 to 250" not in unescaped(markdown_of(content, ()))
    own = content_of(bare(MONDAY, WEEK, readings, bands=bands, cadence_seconds=300.0))
    assert [one.kind for one in own.advice] == ["voltage"]


def test_advice_is_in_the_order_of_energy() -> None:
    idle = dict.fromkeys(STATES, 0) | {"idle": 30 * HOUR_LONG, "running": 138 * HOUR_LONG}
    energy = dict.fromkeys(STATES, 0) | {"idle": 400 * MILLIONTHS, "running": 200 * MILLIONTHS}
    states = StateFigures(microseconds(MONDAY), microseconds(WEEK), (), idle, energy)
    readings = machine(MONDAY, WEEK)
    kept = [i for i in range(len(readings)) if not 500 <= i < 700]
    columns = {"power": readings["power"].to_pylist(), "voltage": [260.0] * len(readings)}
    volts = table("D1", readings["timestamp"].to_pylist(), columns)
    data = bare(
        MONDAY, WEEK, volts.take(kept), working=working(MONDAY, 7), cadence_seconds=300.0, states=states,
        bands={"voltage": (220.0, 240.0)},
    )  # fmt: skip
    advice = content_of(data).advice
    assert [one.kind for one in advice] == ["idle", "data", "outside_hours", "voltage"]
    energies = [one.energy_kwh for one in advice if one.energy_kwh is not None]
    assert energies == sorted(energies, reverse=True)
    assert next(one for one in advice if one.kind == "data").confidence == "low"
    assert advice[-1].energy_kwh is None


def test_a_peak_that_stands_out_is_advice() -> None:
    readings = machine(MONDAY, WEEK, night=1000, day=1000)
    power = np.array(readings["power"].to_pylist())
    power[1000:1006] = 20_000
    data = bare(MONDAY, WEEK, table("D1", readings["timestamp"].to_pylist(), {"power": power.tolist()}))
    (advice,) = content_of(data).advice
    assert advice.kind == "peak"
    assert advice.figures["usual_w"] == pytest.approx(1000)
    assert advice.figures["excess_w"] == pytest.approx(19_000, rel=0.2)


@pytest.mark.parametrize(
    ("start", "end", "before", "year"),
    [
        ("2026-03-01", "2026-04-01", ("2026-02-01", "2026-03-01"), ("2025-03-01", "2025-04-01")),
        ("2026-01-01", "2027-01-01", ("2025-01-01", "2026-01-01"), None),
        ("2024-02-29", "2024-03-01", ("2024-02-28", "2024-02-29"), None),
        ("2026-03-23", "2026-03-30", ("2026-03-16", "2026-03-23"), ("2025-03-23", "2025-03-30")),
    ],
)
def test_the_periods_to_compare_with(
    start: str, end: str, before: tuple[str, str], year: tuple[str, str] | None
) -> None:
    def days(moments: Any) -> tuple[str, ...]:
        return tuple(str(moment.astimezone(PARIS).date()) for moment in moments)

    found = {
        basis: days((since, until)) for basis, since, until in earlier_periods(_midnight(start), _midnight(end), PARIS)
    }
    assert found["period_before"] == before
    assert found.get("year_before") == year


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=PARIS)


@given(st.integers(0, 6 * 366 * 24), st.integers(1, 366 * 24))
def test_the_period_before_ends_where_the_period_begins(start: int, hours: int) -> None:
    since = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=start)
    for basis, first, last in earlier_periods(since, since + timedelta(hours=hours), PARIS):
        assert first < last
        assert last == since if basis == "period_before" else last < since + timedelta(hours=hours)


def compared(now: float, then: float) -> ReportContent:
    start = MONDAY - 3 * DAY
    before = Measured.of(bare(start, MONDAY, machine(start, MONDAY, then, then))).energy
    earlier = Earlier("period_before", start, MONDAY, before, working(start, 3))
    return content_of(
        bare(MONDAY, WEEK, machine(MONDAY, WEEK, now, now), working=working(MONDAY, 7), earlier=[earlier])
    )


def test_periods_of_different_lengths_are_compared_by_the_day() -> None:
    (comparison,) = compared(1100, 1000).comparisons
    energy = comparison.figure("energy_per_day")
    assert energy is not None
    assert energy.value == pytest.approx(26.4)
    assert energy.earlier == pytest.approx(24)
    assert energy.change == pytest.approx(0.1)
    text = unescaped(markdown_of(compared(1100, 1000), ())).replace("\u00a0", " ")
    assert "That is 10 % per day more than in the period before." in text
    assert "| Energy per day | 26.4 kWh | 24.0 kWh | +10 % |" in text
    assert "per day less than" in unescaped(markdown_of(compared(900, 1000), ()))
    assert compared(900, 0).comparisons[0].figure("energy_per_day").change is None  # type: ignore[union-attr] # it is there


def test_a_period_of_which_little_was_measured_is_not_compared() -> None:
    start = MONDAY - 7 * DAY
    before = Measured.of(bare(start, MONDAY, machine(start, start + 2 * DAY))).energy
    data = bare(MONDAY, WEEK, machine(MONDAY, WEEK), earlier=[Earlier("period_before", start, MONDAY, before, None)])
    assert content_of(data).comparisons == []


def test_the_load_by_hour_and_its_duration_curve() -> None:
    load = content_of(bare(MONDAY, WEEK, machine(MONDAY, WEEK))).load
    assert load is not None
    assert (load.quarter_hours, len(load.duration_curve_w), len(load.by_hour_w)) == (7 * 96 - 1, 101, 7)
    assert load.duration_curve_w == sorted(load.duration_curve_w, reverse=True)
    assert load.by_hour_w[2][12] == pytest.approx(5000)
    assert load.by_hour_w[6][3] == pytest.approx(1000)
    sunday = content_of(bare(MONDAY, MONDAY + DAY, steady(MONDAY, MONDAY + DAY))).load
    assert sunday is not None
    assert sunday.by_hour_w[6] == [None] * 24


@pytest.mark.parametrize(
    ("days", "unit", "rows"), [(62, "day", 62), (63, "week", 9), (180, "week", 26), (366, "month", 13)]
)
def test_energy_is_by_day_week_or_month(days: int, unit: str, rows: int) -> None:
    end = MONDAY + days * DAY
    found = content_of(bare(MONDAY, end, steady(MONDAY, end, step=15 * MINUTE))).energy_by
    assert (found.unit, len(found.rows)) == (unit, rows)
    assert sum(row.energy_kwh or 0 for row in found.rows) == pytest.approx(found.total.energy_kwh or 0)
