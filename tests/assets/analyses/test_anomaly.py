from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.analyses import AnomalyParameters, Result, analyse
from assets.analyses.events import threshold
from assets.analyses.features import drifts
from storage.settings import CHECKOUT

SERIES = CHECKOUT / "cli" / "demo" / "house-a.csv.gz"
METRICS = ("voltage", "current", "power", "reactive_power")
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def house() -> pd.DataFrame:
    rows = pd.read_csv(SERIES)
    return rows.assign(time=pd.to_datetime(rows["timestamp"], utc=True))


def as_table(rows: pd.DataFrame) -> pa.Table:
    return table(rows["time"].tolist(), {name: [*map(float, rows[name])] for name in METRICS})


def table(times: list[Any], columns: dict[str, list[float | None]]) -> pa.Table:
    """A dataset's columns, the named metrics null where not given."""
    null = [None] * len(times)
    data = {name: columns.get(name, null) for name in ("voltage", "current", "power", "temperature", *columns)}
    return pa.table(
        {
            "timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
            "device_id": ["D1"] * len(times),
            **{name: pa.array(values, pa.float64()) for name, values in data.items()},
            "hour": pa.array([time.hour for time in times], pa.int8()),
            "is_weekend": [False] * len(times),
        }
    )


def minutes(count: int) -> list[datetime]:
    return [START + timedelta(minutes=i) for i in range(count)]


def anomalies(rows: pa.Table, model: str = "isolation_forest", **parameters: Any) -> Result:
    return analyse("anomaly", model, rows, AnomalyParameters(**parameters), lambda percent, words: None)


def found_and_false(result: Result, rows: pd.DataFrame, since: int) -> tuple[int, int, float]:
    """Faults found, faults there, and the share of good rows since a row that lie in an event."""
    flagged = np.zeros(len(rows), bool)
    for event in result.results["events"]:
        flagged |= ((rows["time"] >= event["start"]) & (rows["time"] <= event["end"])).to_numpy()
    faulty = rows["anomaly"].to_numpy() == 1
    edges = np.flatnonzero(np.diff(np.r_[0, faulty.astype(int), 0])).reshape(-1, 2)
    judged = np.arange(len(rows)) >= since
    return sum(bool(flagged[a:b].any()) for a, b in edges), len(edges), float(flagged[judged & ~faulty].mean())


@pytest.mark.slow
def test_faults_are_found_among_what_is_learnt_from(house: pd.DataFrame) -> None:
    found, _, false = found_and_false(anomalies(as_table(house)), house, 0)
    assert found >= 16
    assert false < 0.02


@pytest.mark.slow
def test_the_autoencoder_finds_faults(house: pd.DataFrame) -> None:
    fitted = int(0.4 * len(house))
    result = anomalies(as_table(house), "autoencoder", trained_until=house["time"][fitted])
    found, _, false = found_and_false(result, house, fitted)
    assert found >= 14
    assert false < 0.05


@pytest.mark.slow
def test_what_came_later_does_not_move_the_threshold(house: pd.DataFrame) -> None:
    """A leak would show: the scores before `trained_until` are the same whatever comes after."""
    rows = house.iloc[:4000].copy()
    until = rows["time"].iloc[2000]
    other = rows.copy()
    other.loc[other.index >= 2600, list(METRICS)] *= 3.0
    before, after = (anomalies(as_table(these), trained_until=until) for these in (rows, other))
    assert _before(before, rows["time"].iloc[2600]) == _before(after, rows["time"].iloc[2600])
    assert len(after.results["anomalies"]) >= 1000 > len(before.results["anomalies"])


def test_an_anomaly_has_the_fields_of_the_contract(house: pd.DataFrame) -> None:
    result = anomalies(as_table(house.iloc[12000:16000]))
    assert result.results["anomalies"]
    for anomaly in result.results["anomalies"]:
        assert datetime.fromisoformat(anomaly["timestamp"]).tzinfo
        assert anomaly["is_anomaly"] is True
        assert 0.5 <= anomaly["anomaly_score"] <= 1
    for event in result.results["events"]:
        assert event["start"] <= event["peak"] <= event["end"]
        assert event["metric"] in METRICS
    assert result.accuracy_metrics["precision"] is None
    assert "labels" in result.accuracy_metrics["reason"]


def test_what_a_result_leaves_out_is_counted(house: pd.DataFrame) -> None:
    result = anomalies(as_table(house), strictness=0.5)
    summary = result.results["summary"]
    assert len(result.results["anomalies"]) == 1000
    assert summary["anomalies_left_out"] == summary["anomalous_rows"] - 1000 > 0


def test_a_spike_in_a_lone_series_is_found() -> None:
    random = np.random.default_rng(3)
    values = 50 + np.sin(np.arange(1500) / 100) + random.normal(0, 0.2, 1500)
    values[1200:1210] += 8
    found = anomalies(table(minutes(1500), {"temperature": values.tolist()})).results["events"]
    strongest = max(found, key=lambda event: event["score"])
    assert strongest["metric"] == "temperature"
    assert abs(datetime.fromisoformat(strongest["start"]) - (START + timedelta(minutes=1200))) < timedelta(minutes=5)


def test_channels_that_say_nothing_are_named_with_the_reason() -> None:
    random = np.random.default_rng(3)
    noise = random.normal(0, 1, (2, 600))
    columns: dict[str, list[float | None]] = {
        "pressure": noise[0].tolist(),
        "flow": noise[1].tolist(),
        "setting": [1.0] * 600,
        "seldom": [1.0 if i % 20 == 0 else None for i in range(600)],
        "warming": np.linspace(0, 50, 600).tolist(),
    }
    left_out = anomalies(table(minutes(600), columns)).results["left_out"]
    assert left_out["setting"] == "constant"
    assert "half" in left_out["seldom"]
    assert "drift" in left_out["warming"]
    assert set(left_out) == {"setting", "seldom", "warming"}


def test_metrics_that_arrive_in_turn_are_one_device() -> None:
    random = np.random.default_rng(3)
    even = [float(random.normal()) if i % 2 == 0 else None for i in range(800)]
    odd = [float(random.normal()) if i % 2 else None for i in range(800)]
    assert anomalies(table(minutes(800), {"a": even, "b": odd})).results["left_out"] == {}


def test_a_long_history_is_worked_on_as_means_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.analyses.readings.MAX_ROWS", 500)
    random = np.random.default_rng(3)
    result = anomalies(table(minutes(1500), {"a": random.normal(size=1500).tolist()}))
    assert result.results["summary"]["worked_on_means_of_seconds"] == 300
    assert result.results["summary"]["rows"] == 300


def test_cancelling_ends_the_work(house: pd.DataFrame) -> None:
    def cancelled(percent: float, words: str) -> None:
        if percent > 20:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        analyse("anomaly", "isolation_forest", as_table(house.iloc[:500]), AnomalyParameters(), cancelled)


def _before(result: Result, moment: datetime) -> list[dict[str, Any]]:
    """Events without their relative scores that ended some time before a moment."""
    known = [{k: e[k] for k in ("start", "end", "peak", "shown_by")} for e in result.results["events"]]
    return [event for event in known if datetime.fromisoformat(event["end"]) < moment - timedelta(minutes=30)]


def test_faults_among_the_rows_hardly_move_the_threshold() -> None:
    random = np.random.default_rng(5)
    good = random.normal(0, 1, 10_000)
    bad = np.concatenate([good, np.full(500, 50.0)])
    assert threshold(bad, trusted=False) == pytest.approx(threshold(good, trusted=False), rel=0.15)
    assert (good > threshold(good, trusted=True)).mean() == pytest.approx(0.002, abs=0.0005)


def test_a_drift_differs_from_noise() -> None:
    random = np.random.default_rng(5)
    assert drifts(np.linspace(0, 10, 400) + random.normal(0, 1, 400))
    assert not drifts(random.normal(0, 1, 400))
