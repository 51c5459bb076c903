"""What holds for every model: honest JSON, the same twice, a clear refusal of data that carry nothing."""

import csv
import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import ValidationError

from assets.analyses import ANALYSES, AnalysisType, CannotAnalyse, Result, analyse
from assets.analyses.forecasting.models import MODELS as FORECASTERS
from assets.analyses.prognostics.classifiers import CLASSIFIERS
from assets.analyses.scorers import SCORERS
from cli.demo import fleet

START = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = [(kind, model) for kind, analysis in ANALYSES.items() for model in analysis.models]


def run(kind: str, model: str, rows: pa.Table, **parameters: Any) -> Result:
    given = ANALYSES[kind].parameters.model_validate(parameters)
    return analyse(kind, model, rows, given, lambda _percent, _message: None)


def dataset(metrics: dict[str, Any], step: timedelta = timedelta(minutes=1)) -> pa.Table:
    """Columns as in a dataset, with the metrics given."""
    rows = len(next(iter(metrics.values())))
    times = [START + i * step for i in range(rows)]
    columns: dict[str, Any] = {
        "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "device_id": pa.repeat("D1", rows),
        **{name: pa.nulls(rows, pa.float64()) for name in ("voltage", "current", "power", "temperature")},
        "hour": pa.array([t.hour for t in times], pa.int8()),
        "day_of_week": pa.array([t.weekday() for t in times], pa.int8()),
        "is_weekend": pa.array([t.weekday() >= 5 for t in times]),
    }
    return pa.table(columns | {n: pa.array(v, pa.float64(), from_pandas=True) for n, v in metrics.items()})


def house_a() -> tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The demo's whole series, and which of its readings lie in an injected fault."""
    with gzip.open(Path(fleet.SERIES), "rt") as file:
        rows = list(csv.DictReader(file))
    times = pa.array([datetime.fromisoformat(row["timestamp"]) for row in rows], pa.timestamp("us", "UTC"))
    metrics = {name: [float(row[name]) for row in rows] for name in fleet.METRICS}
    return pa.table({"timestamp": times, **metrics}), np.array([row["anomaly"] == "1" for row in rows])


def test_every_analysis_type_is_listed_once() -> None:
    assert set(get_args(AnalysisType)) == set(ANALYSES)


def test_every_model_that_is_offered_exists() -> None:
    assert ANALYSES["anomaly"].models == (*SCORERS, "auto")
    assert ANALYSES["prediction"].models == tuple(CLASSIFIERS)
    assert {*ANALYSES["forecast"].models} == {*FORECASTERS, "auto"} - {"linear", "day_type_profile"}
    assert all(analysis.default in analysis.models for analysis in ANALYSES.values())


def test_the_models_of_the_handover_come_first() -> None:
    assert {analysis.family: list(analysis.models[:2]) for analysis in ANALYSES.values()} == {
        "anomaly_detection": ["isolation_forest", "autoencoder"],
        "failure_prediction": ["random_forest", "gradient_boosting"],
        "forecasting": ["prophet", "arima"],
    }


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("anomaly", {"contamination": 0.1}),
        ("anomaly", {"seed": -1}),
        ("forecast", {"horizon_hours": 0}),
        ("forecast", {"horizon_hours": 1_000_000}),
        ("prediction", {"failures": ["2026-01-01T00:00:00"]}),  # no offset
    ],
)
def test_wrong_parameters_are_refused(kind: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ANALYSES[kind].parameters.model_validate(parameters)


@pytest.mark.parametrize(("kind", "model"), MODELS)
@pytest.mark.parametrize(
    "metrics",
    [
        {"power": [230.0]},
        {"power": [np.nan] * 500},
        {"power": [5.0] * 10_000},
        {"power": [1.0, 2.0, 3.0]},
    ],
    ids=["one row", "all null", "constant", "three rows"],
)
def test_data_that_carry_nothing_are_refused_with_the_reason(kind: str, model: str, metrics: dict[str, Any]) -> None:
    parameters = {"failures": ["2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z"]} if kind == "prediction" else {}
    with pytest.raises(CannotAnalyse) as refused:
        run(kind, model, dataset(metrics), **parameters)
    assert len(str(refused.value)) > 20


def test_a_metric_that_is_not_there_is_named() -> None:
    rows = dataset({"power": np.arange(500.0)})
    with pytest.raises(CannotAnalyse, match="torque"):
        run("forecast", "arima", rows, metric="torque")
    with pytest.raises(CannotAnalyse, match="torque"):
        run("anomaly", "isolation_forest", rows, metrics=["torque"])


# Series that sensors really send: coarse steps, repeated values, holes, and far outliers.
VALUES = st.one_of(st.none(), st.integers(0, 5), st.floats(-1e12, 1e12, allow_nan=False))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=2, max_size=40), st.integers(0, 3))
def test_a_result_is_json_without_nan_whatever_the_readings(pattern: list[tuple[Any, ...]], unmeasured: int) -> None:
    rows = (pattern * (240 // len(pattern) + 1))[:240]
    names = ("voltage", "current", "power")[unmeasured:] or ("temperature",)
    table = dataset({name: [row[i] for row in rows] for i, name in enumerate(names)})
    try:
        result = run("anomaly", "isolation_forest", table)
    except CannotAnalyse:
        return
    json.dumps([result.results, result.accuracy_metrics], allow_nan=False)
    for anomaly in result.results["anomalies"]:
        assert 0 <= anomaly["anomaly_score"] <= 1
    for event in result.results["events"]:
        assert event["start"] <= event["end"]
        assert event["points"] >= 1


@pytest.mark.slow
def test_a_forest_finds_the_injected_faults_of_the_demo() -> None:
    """Fitted on the first 40 %, which hold none of the 21."""
    rows, faulty = house_a()
    times = np.array(rows["timestamp"].to_pylist())
    fitted = int(0.4 * len(times))
    result = run("anomaly", "isolation_forest", rows, trained_until=times[fitted])
    flagged = np.zeros(len(times), bool)
    for event in result.results["events"]:
        start, end = (datetime.fromisoformat(event[edge]) for edge in ("start", "end"))
        flagged |= (times >= start) & (times <= end)
    edges = np.flatnonzero(np.diff(np.r_[0, faulty.astype(int), 0]))
    hit = [flagged[a:b].any() for a, b in zip(edges[::2], edges[1::2], strict=True)]
    assert len(hit) == 21
    assert sum(hit) >= 19
    judged = flagged[fitted:][~faulty[fitted:]]
    assert judged.mean() < 0.03
    assert result.accuracy_metrics["f1_score"] is None
    assert "labels" in result.accuracy_metrics["reason"]


@pytest.mark.slow
def test_a_label_among_the_columns_is_not_learnt_from() -> None:
    rows, faulty = house_a()
    rows, faulty = rows.slice(9_000, 3_000), faulty[9_000:12_000]
    labelled = rows.append_column("anomaly", pa.array(faulty.astype(float)))
    with_label, without = (run("anomaly", "isolation_forest", table) for table in (labelled, rows))
    assert with_label.results["events"] == without.results["events"]
    assert with_label.results["left_out"]["anomaly"] == "its name is that of a label"


@pytest.mark.slow
def test_the_same_job_twice_gives_the_same_result() -> None:
    rows = house_a()[0].slice(0, 3_000)
    first, second = (run("anomaly", "isolation_forest", rows, seed=7) for _ in range(2))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("model", ANALYSES["forecast"].models)
def test_a_forecast_knows_its_day_and_says_what_it_is_worth(model: str) -> None:
    hours = np.arange(24 * 12)
    random = np.random.default_rng(2)
    load = 500 + 200 * np.sin(2 * np.pi * hours / 24) + random.normal(0, 20, len(hours))
    rows = dataset({"power": load}, timedelta(hours=1))
    first, second = (run("forecast", model, rows, horizon_hours=12) for _ in range(2))
    assert first == second
    accuracy, ahead = first.accuracy_metrics, first.results["forecast"]
    assert first.results["metric"] == "power"
    assert accuracy["beats_baseline"] is True
    assert accuracy["mase"] < 1
    assert len(ahead) == 12
    expected = 500 + 200 * np.sin(2 * np.pi * (hours[-1] + 1 + np.arange(12)) / 24)
    assert np.abs(np.array([point["value"] for point in ahead]) - expected).mean() < 40
    for point in ahead:
        assert point["lower"] <= point["lower_80"] <= point["value"] <= point["upper_80"] <= point["upper"]
    json.dumps([first.results, accuracy], allow_nan=False)


@pytest.mark.slow
def test_a_forecast_that_loses_to_the_baseline_says_so() -> None:
    """Every day repeats the one before exactly, which no model does better than repeating it."""
    day = np.random.default_rng(4).uniform(0, 1_000, 24)
    rows = dataset({"power": np.tile(day, 12)}, timedelta(hours=1))
    result = run("forecast", "prophet", rows, horizon_hours=6)
    assert result.accuracy_metrics["beats_baseline"] is False
    assert result.results["warning"]


def test_too_little_history_says_how_much_is_needed() -> None:
    rows = dataset({"power": np.arange(30.0)}, timedelta(hours=1))
    with pytest.raises(CannotAnalyse, match=r"need \d+ hours of history; there are (29|30)"):
        run("forecast", "prophet", rows)


def test_threads_are_limited_from_the_first_analysis_of_a_process_on() -> None:
    """A job is a process of its own, and the libraries load their pools of threads when they are first used."""
    code = (
        "from assets.analyses import ForecastParameters, registry\n"
        "from threadpoolctl import threadpool_info\n"
        "def pools(*_):\n"
        "    import scipy.linalg, sklearn.ensemble\n"
        "    print(sorted({(pool['user_api'], pool['num_threads']) for pool in threadpool_info()}))\n"
        "    raise SystemExit\n"
        "registry._run = pools\n"
        "registry.analyse('forecast', 'auto', None, ForecastParameters(), None)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "[('blas', 1), ('openmp', 1)]\n"
