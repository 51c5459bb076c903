from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from assets.quality.coverage import Cadences, coverage
from assets.reports import ReportError
from assets.reports.measures import Measured
from assets.reports.noticed import DataQuality
from assets.reports.quality import quality
from storage.devices import Counter
from storage.times import microseconds
from tests.support.report_factories import DAY, HOUR, MINUTE, PARIS, bare, content_of, house, steady, table

NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)


def test_the_house_for_a_week() -> None:
    content = content_of(house())
    readings = house().readings
    power, volts = readings["power"].to_pylist(), readings["voltage"].to_pylist()
    figures = {kpi.key: kpi.value for kpi in content.kpis}
    # A reading a minute without a gap: the integral is the sum of the minutes but for half a minute at each end.
    minutes = (sum(power) - (power[0] + power[-1]) / 2) / 60_000
    assert figures["energy"] == pytest.approx(minutes)
    assert figures["mean_power"] == pytest.approx(minutes * 1000 / ((7 * DAY - MINUTE) / HOUR))
    assert (figures["peak_power"], figures["readings"]) == (max(power), 7 * 1440)
    assert figures["load_factor"] == pytest.approx(figures["mean_power"] / figures["peak_demand_15min"], rel=1e-3)  # type: ignore[operator] # not null here
    assert (figures["voltage_min"], figures["voltage_max"]) == (min(volts), max(volts))
    assert figures["voltage_outside_band"] == pytest.approx(sum(not 226 <= v <= 253 for v in volts) / len(volts))
    assert (figures["completeness"], figures["alerts"], figures["anomalies"]) == (1.0, 5, 1)
    assert content.energy.source == "integral:power"
    assert sum(day.energy_kwh or 0 for day in content.daily) == pytest.approx(minutes)
    assert [day.readings for day in content.daily] == [1440] * 7
    assert [metric.metric for metric in content.metrics] == [
        "voltage",
        "current",
        "power",
        "power_factor",
        "reactive_power",
    ]
    assert content.metric("reactive_power").unit == "var"  # type: ignore[union-attr] # it is there
    assert {len(series.start) for series in content.series} == {672}


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime(2026, 3, 29, tzinfo=PARIS), 23), (datetime(2026, 10, 25, tzinfo=PARIS), 25)]
)
def test_a_day_with_a_clock_change(day: datetime, hours: int) -> None:
    start, end = day - DAY, datetime(day.year, day.month, day.day + 2, tzinfo=PARIS)
    content = content_of(bare(start, end, steady(start, end)))
    assert [d.day.day for d in content.daily] == [day.day - 1, day.day, day.day + 1]
    assert [(d.hours, d.readings) for d in content.daily] == [(24, 1440), (hours, hours * 60), (24, 1440)]
    assert [d.energy_kwh for d in content.daily][:2] == pytest.approx([24, hours])
    assert all(d.is_whole and d.completeness == 1 for d in content.daily)


def test_a_period_that_begins_and_ends_within_a_day() -> None:
    start, end = NOON, NOON + 30 * HOUR
    content = content_of(bare(start, end, steady(start, end)))
    assert [(d.start, d.hours) for d in content.daily] == [(NOON, 11), (NOON + 11 * HOUR, 19)]  # Paris is an hour ahead
    assert [d.is_whole for d in content.daily] == [False, False]


def test_energy_outside_working_hours_is_told_if_they_are_known() -> None:
    end = NOON + 2 * HOUR
    data = bare(NOON, end, steady(NOON, end + MINUTE))
    content = content_of(replace(data, working=[(microseconds(NOON), microseconds(NOON + HOUR))]))
    assert content.kpi("outside_working_hours").value == pytest.approx(1, abs=0.02)
    assert content.kpi("outside_working_hours_share").value == pytest.approx(0.5, abs=0.01)
    assert content_of(data).kpi("outside_working_hours").note == "working hours are unknown"


def test_no_readings_at_all() -> None:
    content = content_of(bare(NOON, NOON + DAY, cadence_seconds=60.0))
    unknown = {kpi.key: kpi.note for kpi in content.kpis if kpi.value is None}
    assert unknown["energy"] == "power was not measured"
    assert unknown["voltage_mean"] == "voltage was not measured"
    assert content.kpi("completeness").value == 0
    assert (content.metrics, content.series, content.energy.source) == ([], [], None)
    assert [day.energy_kwh for day in content.daily] == [None, None]
    assert content_of(bare(NOON, NOON + DAY)).kpi("completeness").note == "the interval between readings is unknown"


def test_one_reading_has_power_and_no_energy() -> None:
    content = content_of(bare(NOON, NOON + MINUTE, table("D1", [NOON], {"power": [1200.0]})))
    assert (content.kpi("mean_power").value, content.kpi("peak_power").value) == (1200, 1200)
    assert content.kpi("energy").value is None
    assert content.kpi("energy").note == "two power readings without a gap between them are needed"
    assert [day.energy_kwh for day in content.daily] == [None]


def test_readings_outside_the_period_are_left_out_and_order_does_not_matter() -> None:
    data = bare(NOON, NOON + HOUR, steady(NOON - HOUR, NOON + 2 * HOUR))
    content = content_of(data)
    assert content.data_quality.readings == 60
    backwards = data.readings.sort_by([("timestamp", "descending")])
    assert content_of(replace(data, readings=backwards)) == content


def test_a_reading_of_another_device_is_an_error() -> None:
    mixed = pa.concat_tables(
        [steady(NOON, NOON + HOUR), table("D2", [NOON], {"power": [1.0]})], promote_options="default"
    )
    with pytest.raises(ReportError, match="The data of D1 contain readings of another device"):
        content_of(bare(NOON, NOON + HOUR, mixed))


def test_energy_comes_from_the_register_if_there_is_one() -> None:
    times = [NOON + i * HOUR for i in range(25)]
    readings = table("D1", times, {"power": [1000.0] * 25, "energy_total": [500.0 + 2 * i for i in range(25)]})
    counters = {"energy_total": Counter(unit="kWh"), "water": Counter(unit="m3")}
    content = content_of(bare(NOON, NOON + 25 * HOUR, readings, counters=counters))
    assert content.energy.source == "counter:energy_total"
    assert "register energy_total" in content.energy.rule
    assert content.kpi("energy").value == pytest.approx(48)
    # Demand is from the register too, whatever power says.
    assert content.kpi("mean_power").value == pytest.approx(2000)
    assert content.kpi("peak_demand_15min").value == pytest.approx(2000)
    assert content.metric("energy_total").unit == "kWh"  # type: ignore[union-attr] # it is there


def test_the_highest_quarter_hour() -> None:
    times = [NOON + i * MINUTE for i in range(60)]
    power = [1000.0] * 20 + [5000.0] * 20 + [1000.0] * 20
    content = content_of(bare(NOON, NOON + HOUR, table("D1", times, {"power": power})))
    demand = content.kpi("peak_demand_15min")
    assert demand.at == NOON + 15 * MINUTE
    assert demand.value == pytest.approx((4.5 * 1000 + 0.5 * 3000 + 10 * 5000 + 0.5 * 1000 - 0.5 * 1000) / 15, rel=0.02)
    assert demand.value < 5000  # type: ignore[operator] # not null here
    hourly = table("D1", [NOON, NOON + HOUR, NOON + 2 * HOUR], {"power": [1.0, 1.0, 1.0]})
    assert (
        content_of(bare(NOON, NOON + 3 * HOUR, hourly)).kpi("peak_demand_15min").note
        == "readings are more than 15 minutes apart: the true one may be higher"
    )


def test_windows_are_no_finer_than_the_readings_and_at_most_a_thousand() -> None:
    quarter_hours = steady(NOON, NOON + DAY, step=15 * MINUTE)
    (power, _) = sorted(content_of(bare(NOON, NOON + DAY, quarter_hours)).series, key=lambda s: s.metric)
    assert power.window_seconds == 900
    assert None not in power.mean
    year = content_of(bare(NOON, NOON + 366 * DAY, steady(NOON, NOON + 366 * DAY, step=HOUR)))
    assert all(series.window_seconds == 86_400 and len(series.start) == 367 for series in year.series)


def found_quality(*minutes: float, cadence: float | None = 60, made: datetime | None = None) -> DataQuality:
    data = bare(NOON, NOON + HOUR, cadence_seconds=cadence, generated_at=made or NOON + DAY)
    start = microseconds(NOON)
    times = pa.array([start + int(m * 60_000_000) for m in minutes], pa.int64()).to_numpy()
    return quality(data, times, Cadences(cadence, times), Measured.of(data).energy)


def test_gaps_are_counted_from_edge_to_edge() -> None:
    found = found_quality(*range(10, 20), *range(40, 60))
    assert [(gap.start, gap.seconds) for gap in found.gaps] == [(NOON + 19 * MINUTE, 1260), (NOON, 600)]
    assert (found.gaps_total, found.missing_seconds) == (2, 600 + 1200)
    assert found.completeness == pytest.approx(0.5)


def test_a_late_reading_is_late_and_not_missing() -> None:
    assert found_quality(*(i + (0.4 if i % 7 == 0 else 0) for i in range(60))).completeness == 1


def test_time_after_the_report_was_generated_does_not_count() -> None:
    found = found_quality(*range(30), made=NOON + 30 * MINUTE)
    assert (found.completeness, found.measured_until, found.gaps_total) == (1, NOON + 30 * MINUTE, 0)


def test_the_cadence_is_declared_or_the_median_step() -> None:
    assert (found_quality(0, 2, 4, cadence=None).cadence_seconds, found_quality(0, 2, 4).cadence_source) == (
        120,
        "declared",
    )
    assert found_quality(5, cadence=None).completeness is None


@given(st.sets(st.integers(0, 3599), max_size=60), st.floats(1, 3600))
def test_completeness_is_a_share_and_more_readings_never_lower_it(seconds: set[int], cadence: float) -> None:
    start = microseconds(NOON)
    times = [start + s * 1_000_000 for s in sorted(seconds)]

    def share(of: list[int]) -> float:
        at = pa.array(of, pa.int64()).to_numpy()
        found = coverage(at, start, microseconds(NOON + HOUR), Cadences(cadence, at)).share
        assert found is not None
        return found

    assert 0 <= share(times) <= 1
    assert all(share(times) >= share(times[:i] + times[i + 1 :]) - 1e-9 for i in range(len(times)))


def test_a_time_without_an_offset_is_an_error() -> None:
    with pytest.raises(ValueError, match="need a UTC offset"):
        bare(datetime(2026, 2, 1), NOON)  # noqa: DTZ001 - that is the error
    with pytest.raises(ValueError, match="is empty"):
        bare(NOON, NOON)
    with pytest.raises(ValueError, match="is not a valid report id"):
        bare(NOON, NOON + timedelta(hours=1), report_id="report_#1")
