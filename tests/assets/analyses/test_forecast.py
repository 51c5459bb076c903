from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.analyses import CannotAnalyse, ForecastParameters, Result, analyse
from assets.analyses.forecast import half_widths
from assets.analyses.forecasters import FORECASTERS

START = datetime(2026, 1, 1, tzinfo=UTC)


def hours(values: "np.ndarray[Any, Any]") -> pa.Table:
    times = [START + timedelta(hours=i) for i in range(len(values))]
    return pa.table({"timestamp": pa.array(times, pa.timestamp("us", tz="UTC")), "power": values.astype(float)})


def daily(days: int, seed: int = 7) -> np.ndarray[Any, Any]:
    at = np.arange(24 * days)
    shape: np.ndarray[Any, Any] = 1000 + 400 * np.sin(2 * np.pi * at / 24)
    noise = np.random.default_rng(seed).normal(0, 60, len(at))
    return shape + noise


def forecast(model: str, rows: pa.Table, **parameters: Any) -> Result:
    return analyse("forecast", model, rows, ForecastParameters(**parameters), lambda percent, words: None)


@pytest.mark.parametrize("model", FORECASTERS)
def test_what_is_never_negative_is_not_forecast_so(model: str) -> None:
    night = np.maximum(daily(10) - 1200, 0)
    ahead = forecast(model, hours(night)).results["forecast"]
    assert min(point["lower"] for point in ahead) == 0


@pytest.mark.parametrize("model", FORECASTERS)
def test_nothing_of_the_future_is_known(model: str) -> None:
    known = pd.Series(daily(10), pd.date_range(START, periods=240, freq="h"))
    other = known.copy()
    other.iloc[200:] = -1e6
    origins = [150, 200]
    assert np.array_equal(FORECASTERS[model](known, origins, 12), FORECASTERS[model](other, origins, 12))


def test_hours_without_readings_are_interpolated_and_counted() -> None:
    values = daily(10)
    keep = [i for i in range(240) if i not in (100, 101, 102)]
    rows = hours(values).take(keep)
    assert forecast("arima", rows).results["summary"]["hours_drawn_in"] == 3


@pytest.mark.parametrize(
    ("rows", "parameters", "message"),
    [
        (hours(daily(2)), {}, "need 106 hours of history; there are 48"),
        (hours(daily(10)), {"horizon_hours": 168}, "need 250 hours"),
        (hours(daily(10)).slice(0, 1), {}, "there are 1"),
        (hours(np.full(240, 5.0)), {}, "power is constant"),
        (hours(daily(10)).take([*range(100), *range(150, 240)]), {}, "since the last gap"),
        (hours(daily(10)), {"metric": "humidity"}, "no readings of humidity"),
    ],
)  # fmt: skip
def test_too_little_history_says_how_much_is_needed(rows: pa.Table, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(CannotAnalyse, match=message):
        forecast("prophet", rows, **parameters)


def test_bands_hold_what_they_promise() -> None:
    errors = np.abs(np.random.default_rng(2).normal(0, 1, (4000, 2)))
    assert half_widths(errors, 0.95) == pytest.approx([1.96, 1.96], rel=0.05)
    few = half_widths(errors[:5], 0.95)
    assert np.isfinite(few).all()


def test_prophet_leaves_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    forecast("prophet", hours(daily(6)))
    assert not caplog.records
