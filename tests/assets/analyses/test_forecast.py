from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from assets.analyses import CannotAnalyse, DeviceContext, ForecastParameters, Result, analyse
from assets.analyses.energy_totals import Ahead, totals
from assets.analyses.forecasting.backtest import Backtest, choose_origins, weights_of
from assets.analyses.forecasting.bands import bands_of
from assets.analyses.forecasting.baselines import SAME_KIND, WEEK_BEFORE, baselines, week_profile
from assets.analyses.forecasting.calendar import LocalHours, Slots
from assets.analyses.forecasting.hours import Hours
from assets.analyses.forecasting.models import MODELS
from assets.analyses.forecasting.outliers import outliers
from assets.energy.figures import energy_figures
from assets.energy.table import TableDays
from storage.devices import DeviceMetadata
from storage.times import microseconds

START = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
SUNDAY_KIND = 2
Array = np.ndarray[Any, Any]


def rows(values: Array, step: timedelta = timedelta(hours=1), start: datetime = START, **others: Array) -> pa.Table:
    times = [start + i * step for i in range(len(values))]
    columns = {"power": values, **others}
    return pa.table(
        {
            "timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
            **{name: column.astype(float) for name, column in columns.items()},
        }
    )


def daily(days: int, seed: int = 7) -> Array:
    at = np.arange(24 * days)
    shape: Array = 1000 + 400 * np.sin(2 * np.pi * at / 24)
    noise = np.random.default_rng(seed).normal(0, 60, len(at))
    return shape + noise


def shifts(days: int, start: datetime, zone: ZoneInfo = BERLIN) -> Array:
    """A machine that works on weekdays from 6 to 18 by the local clock; 200 W otherwise."""
    local = pd.date_range(start, periods=24 * days, freq="h").tz_convert(zone)
    works = (local.hour >= 6) & (local.hour < 18) & (local.day_of_week < 5)
    return np.where(works, 2000.0, 200.0) + np.random.default_rng(3).normal(0, 20, len(local))


def plain_hours(values: Array, start: datetime = START, **others: Any) -> Hours:
    clock = LocalHours(ZoneInfo("UTC"), start.replace(tzinfo=None), others.pop("is_holiday", lambda _day: False))
    return Hours(values, clock, np.ones(len(values), bool), **others)


def forecast(model: str, table: pa.Table, context: DeviceContext | None = None, **parameters: Any) -> Result:
    return analyse(
        "forecast", model, table, ForecastParameters(**parameters), lambda percent, words: None, context=context
    )


@pytest.mark.parametrize("model", ["prophet", "arima"])
def test_what_is_never_negative_is_not_forecast_so(model: str) -> None:
    night = np.maximum(daily(10) - 1200, 0)
    ahead = forecast(model, rows(night)).results["forecast"]
    assert min(point["lower"] for point in ahead) == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_nothing_of_the_future_is_known(model: str) -> None:
    values, other = daily(17), daily(17)
    other[350:] = -1e6
    known, changed = (plain_hours(v, companions={"temperature": v / 10}) for v in (values, other))
    origins = [340, 350]
    forecast = MODELS[model].forecast
    assert np.array_equal(forecast(known, origins, 30, {}), forecast(changed, origins, 30, {}))


def test_hours_without_readings_are_interpolated_and_counted() -> None:
    keep = [i for i in range(240) if i not in (100, 101, 102)]
    assert forecast("arima", rows(daily(10)).take(keep)).results["summary"]["hours_drawn_in"] == 3


def test_a_long_gap_is_filled_from_the_same_hours_and_named() -> None:
    keep = [*range(200), *range(250, 480)]
    results = forecast("arima", rows(daily(20)).take(keep)).results
    assert results["summary"]["hours_filled"] == 50
    assert results["gaps"] == [{"from": "2026-01-09T08:00:00Z", "to": "2026-01-11T09:00:00Z"}]
    values = {point["timestamp"]: point["value"] for point in results["history"]}
    assert values["2026-01-10T06:00:00Z"] == pytest.approx(1400, abs=120)


@pytest.mark.parametrize(
    ("table", "parameters", "message"),
    [
        (rows(daily(2)), {}, "need 106 hours of history; there are 48"),
        (rows(daily(10)), {"horizon_hours": 168}, "need 250 hours"),
        (rows(daily(10)).slice(0, 1), {}, "there are 1"),
        (rows(np.full(240, 5.0)), {}, "power is constant"),
        (rows(daily(40)).take([*range(100), *range(900, 960)]), {}, "since the last gap"),
        (rows(daily(10)), {"metric": "humidity"}, "no readings of humidity"),
        (rows(daily(10)), {"metric": "energy"}, "Nothing measures the energy"),
        (rows(daily(10), register=np.arange(240.0)), {"metric": "register"}, "counter.*metadata_json.*energy"),
    ],
)  # fmt: skip
def test_what_cannot_be_forecast_is_refused_with_the_reason(
    table: pa.Table, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(CannotAnalyse, match=message):
        forecast("prophet", table, **parameters)


def slots(origins: int) -> Slots:
    """The slots of 24 hours from origins that go around the clock, from a Thursday on."""
    clock = LocalHours(ZoneInfo("UTC"), START.replace(tzinfo=None), lambda _day: False)
    return clock.slots(np.arange(origins)[:, None] * 31 + np.arange(24))


def test_bands_are_wide_where_errors_were_large() -> None:
    random = np.random.default_rng(2)
    when = slots(400)
    errors = np.abs(random.normal(0, np.where(when.hour < 12, 1.0, 4.0)))
    bands = bands_of(errors, when)
    first = Slots(np.arange(24), np.zeros(24, int), np.zeros(24, int))
    widths = bands.half_widths(0.95, first)
    assert widths[3] == pytest.approx(1.96, rel=0.25)
    assert widths[18] == pytest.approx(4 * 1.96, rel=0.25)
    held = errors <= np.stack([bands.half_widths(0.95, when[i]) for i in range(400)])
    assert held.mean() == pytest.approx(0.95, abs=0.01)


def test_bands_ignore_hours_without_readings() -> None:
    when = slots(40)
    errors = np.abs(np.random.default_rng(2).normal(0, 1.0, when.hour.shape))
    errors[::3] = np.nan
    hours = np.arange(30)
    widths = bands_of(errors, when).half_widths(0.95, Slots(hours % 24, hours // 24, 1 + hours // 24))
    assert np.isfinite(widths).all()


@pytest.mark.parametrize("origins", [48, 20])
def test_bands_know_the_kind_of_day(origins: int) -> None:
    """A machine that idles on Sundays is hardly off there; where kinds do not differ, bands do not either."""
    random, when, day = np.random.default_rng(2), slots(origins), np.arange(24)
    errors = np.abs(random.normal(0, np.where(when.kind == SUNDAY_KIND, 5.0, 100.0)))
    bands = bands_of(errors, when)
    working, sunday = (
        bands.half_widths(0.95, Slots(day, np.zeros(24, int), np.full(24, kind))) for kind in (0, SUNDAY_KIND)
    )
    assert (sunday < 0.4 * working).all()
    assert (errors <= np.stack([bands.half_widths(0.95, when[i]) for i in range(origins)])).mean() > 0.93
    alike = bands_of(np.abs(random.normal(0, 100.0, errors.shape)), when).by_kind
    assert np.median(np.abs(alike - 1)) < 0.1


def test_prophet_leaves_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    forecast("prophet", rows(daily(6)))
    assert not caplog.records


def test_origins_go_around_the_clock() -> None:
    origins = choose_origins(28 * 24, 24, 72)
    assert {origin % 24 for origin in origins} == set(range(24))
    assert len(origins) <= 49
    assert (origins[-1], origins[0] >= 14 * 24) == (27 * 24, True)


def test_weights_follow_the_errors() -> None:
    true = np.tile(daily(1), (40, 1))
    noise = np.random.default_rng(4).normal(0, 50, (2, *true.shape))
    test = Backtest(list(range(40)), true, np.ones(true.shape, bool), slots(40))

    def weights(**models: Array) -> dict[str, float]:
        found = weights_of(test, {name: true + errors for name, errors in models.items()})
        assert sum(found.values()) == pytest.approx(1)
        assert min(found.values()) >= 0
        return found

    assert weights(good=noise[0], poor=2 * noise[0])["good"] > 0.99
    assert weights(exact=0 * noise[0], poor=noise[0])["exact"] == pytest.approx(1)
    assert weights(good=noise[0], other=1.2 * noise[1])["other"] > 0.3  # by its error alone it would have 0.19
    assert weights(above=noise[0] + 50, below=noise[1] - 50)["above"] == pytest.approx(0.5, abs=0.1)


def test_few_origins_choose_no_weights_that_only_they_support() -> None:
    true = np.tile(daily(1), (2, 1))
    noise = np.random.default_rng(4).normal(0, 50, (2, *true.shape))
    test = Backtest([0, 1], true, np.ones(true.shape, bool), slots(2))
    weights = weights_of(test, {"first": true + noise[0] + 60, "second": true + noise[0] - 40})
    by_error = (np.abs(noise[0] + 60).mean() / np.abs(noise[0] - 40).mean()) ** 8
    assert weights["second"] == pytest.approx(by_error / (1 + by_error), abs=0.1)


def test_one_absurd_reading_is_left_out_and_named() -> None:
    values = daily(12)
    values[150] = 9.9e6
    results = forecast("arima", rows(values)).results
    assert results["outliers"] == [{"timestamp": "2026-01-07T06:00:00Z", "value": 9.9e6}]
    assert max(point["upper"] for point in results["forecast"]) < 2000


def test_a_machine_that_runs_for_a_moment_every_day_is_no_outlier() -> None:
    column = pd.Series(5.0, pd.date_range(START, periods=20 * 24 * 60, freq="min"))
    column.iloc[600 :: 24 * 60] = 2000.0
    assert not outliers(column).any()
    column.iloc[3333] = 9.9e6
    assert outliers(column).sum() == 1


def test_a_declared_maximum_bounds_readings_and_forecast() -> None:
    values = daily(12)
    values[150] = 3000.0
    context = DeviceContext(metadata=DeviceMetadata(max_power_w=1500))
    results = forecast("arima", rows(values), context).results
    assert 3000.0 in [point["value"] for point in results["outliers"]]
    assert max(point["upper"] for point in results["forecast"]) <= 1500


def test_zero_nights_stay_dark() -> None:
    at = np.arange(24 * 14)
    sun = np.maximum(np.sin(2 * np.pi * (at - 6) / 24), 0) * (3000 + np.random.default_rng(1).normal(0, 500, len(at)))
    ahead = forecast("arima", rows(sun)).results["forecast"]
    night = [point for point in ahead if point["timestamp"][11:13] in ("22", "23", "00", "01", "02")]
    assert len(night) == 5
    assert all((point["value"], point["lower"], point["upper"]) == (0, 0, 0) for point in night)


def test_silent_nights_are_a_pattern_and_not_a_gap() -> None:
    at = np.arange(24 * 14)
    sun = np.maximum(np.sin(2 * np.pi * (at - 6) / 24), 0) * 3000 + np.random.default_rng(1).normal(50, 10, len(at))
    table = rows(sun).take(np.flatnonzero((at % 24 >= 6) & (at % 24 <= 18)))
    results = forecast("arima", table).results
    assert results["summary"]["silent_hours_a_week"] == 7 * 11
    assert (results["summary"]["hours_filled"], results["gaps"]) == (0, [])
    values = {point["timestamp"][11:13]: point["value"] for point in results["forecast"]}
    assert values["23"] == 0
    assert values["12"] > 2000


def test_a_holiday_is_forecast_as_a_sunday_and_teaches_nothing_about_working_days() -> None:
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    local = pd.date_range(monday, periods=24 * 7 * 5, freq="h")
    holiday = date(2026, 2, 3)  # the Tuesday of the fifth week
    values = np.where((local.day_of_week < 5) & (local.date != holiday), 1000.0, 100.0)
    hours = plain_hours(values, monday, is_holiday={holiday, date(2026, 2, 10)}.__contains__)
    origin = len(values)
    assert week_profile(hours, [origin], 48)[0].tolist() == [1000.0] * 24 + [100.0] * 24
    assert baselines(hours, [origin], 24)[SAME_KIND][0].tolist() == [1000.0] * 24


@pytest.mark.slow
@pytest.mark.parametrize("model", ["auto", "arima", "prophet"])
def test_monday_is_known_on_sunday(model: str) -> None:
    """Over the change of the clock, too: 29 March 2026 has 23 hours in Berlin."""
    start = datetime(2026, 3, 1, 23, tzinfo=UTC)
    table = rows(shifts(28, start)[:-1], start=start)
    result = forecast(model, table, DeviceContext(zone=BERLIN))
    assert result.accuracy_metrics["baseline"].removeprefix("seasonal naive: ") in (SAME_KIND, WEEK_BEFORE)
    for point in result.results["forecast"]:
        local = datetime.fromisoformat(point["timestamp"]).astimezone(BERLIN)
        assert local.date() == date(2026, 3, 30)
        assert point["value"] == pytest.approx(2000 if 6 <= local.hour < 18 else 200, abs=300), local


@pytest.mark.slow
def test_auto_weighs_its_models_and_shows_the_baseline() -> None:
    start = datetime(2026, 3, 1, 23, tzinfo=UTC)
    result = forecast("auto", rows(shifts(28, start), start=start), DeviceContext(zone=BERLIN))
    models = result.results["models"]
    assert {model["model"] for model in models} == {*MODELS}
    assert sum(model["weight"] for model in models) == pytest.approx(1.0)
    assert min(models, key=lambda m: m["mae"])["weight"] == max(model["weight"] for model in models)
    assert len(result.accuracy_metrics["baselines"]) == 3
    assert result.accuracy_metrics["baseline_mae"] == min(b["mae"] for b in result.accuracy_metrics["baselines"])
    assert all(isinstance(point["baseline"], float) for point in result.results["forecast"])
    assert result.accuracy_metrics["mae"] <= 1.1 * result.accuracy_metrics["baseline_mae"]


def with_energy(days: int, zone: ZoneInfo = BERLIN) -> tuple[pa.Table, DeviceContext]:
    """A register that is read every quarter hour, without power."""
    step = timedelta(minutes=15)
    watts = np.repeat(daily(days), 4)
    register = 5000 + np.concatenate([[0], np.cumsum(watts / 4000)])[:-1]
    table = rows(register, step).rename_columns(["timestamp", "energy_total"])
    metadata = DeviceMetadata.model_validate({"counters": {"energy_total": {"unit": "kWh"}}})
    start, end = microseconds(START), microseconds(START + timedelta(days=days))
    figures = energy_figures(TableDays(table), metadata, start, end, end)
    return table, DeviceContext(zone=zone, metadata=metadata, energy=lambda: figures)


@pytest.mark.parametrize("metric", [None, "energy", "energy_total"])
def test_a_register_is_forecast_as_energy(metric: str | None) -> None:
    table, context = with_energy(12)
    results = forecast("arima", table, context, metric=metric).results
    assert (results["metric"], results["unit"]) == ("energy", "kWh")
    assert all(0.3 < point["value"] < 1.8 for point in results["forecast"])


def test_hours_days_and_months_of_energy_add_up() -> None:
    table, context = with_energy(30)
    results = forecast("arima", table, context, metric="energy", horizon_hours=744).results
    hours, days, months = results["forecast"], results["days"], results["months"]
    assert len(hours) == 744
    total = sum(point["value"] for point in hours)
    for parts in (days, months):
        assert sum(part["forecast_kwh"] for part in parts) == pytest.approx(total, rel=1e-5)
        for part in parts:
            assert part["lower"] <= part["lower_80"] <= part["expected_kwh"] <= part["upper_80"] <= part["upper"]
    figures = context.energy()
    assert figures is not None
    midnight = microseconds(datetime(2026, 1, 31, tzinfo=BERLIN).astimezone(UTC))
    begun, first_month = days[0], months[0]
    assert begun["day"] == "2026-01-31"
    until = microseconds(datetime.fromisoformat(hours[0]["timestamp"]))
    assert begun["measured_kwh"] == pytest.approx(figures.part(midnight, until).kwh)
    assert first_month["measured_kwh"] == pytest.approx(figures.part(figures.start, until).kwh)
    assert [part["month"] for part in months] == ["2026-01", "2026-02", "2026-03"]
    assert all(20 < part["expected_kwh"] < 28 for part in days[1:-1])


def test_bounds_of_a_day_go_by_what_is_usual_in_its_hours() -> None:
    _, context = with_energy(2, ZoneInfo("UTC"))
    energy = context.energy()
    assert energy is not None
    times = pd.date_range(START + timedelta(days=2), periods=48, freq="h")
    signed = np.random.default_rng(1).normal(0, 10.0, (40, 48))
    ahead = Ahead(
        times, values=np.full(48, 500.0), lowest=np.zeros(48), highest=np.full(48, 1e6),
        usual_errors=np.repeat([0.5, 5.0], 24), signed_errors_in_test=signed,
        usual_errors_in_test=np.full(signed.shape, 8.0),
    )  # fmt: skip
    quiet, busy = totals(energy, "energy", ahead, context, "day")
    assert busy["upper"] - busy["lower"] == pytest.approx(10 * (quiet["upper"] - quiet["lower"]), rel=0.5)


def test_only_energy_is_forecast_for_a_month() -> None:
    with pytest.raises(ValidationError, match="energy"):
        ForecastParameters(horizon_hours=169)
    assert ForecastParameters(horizon_hours=744, metric="energy").horizon_hours == 744
