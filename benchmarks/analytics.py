"""How well analyses find faults and predict, measured on labelled and held-out real data.

`python -m benchmarks.analytics FOLDER [anomaly|forecast|failure ...]`; without a folder: the demo's series alone.
"""

import argparse
import gzip
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import (
    AnomalyParameters,
    PredictionParameters,
    analyse,
    anomaly,
    readings,
)
from assets.analyses.features import features
from assets.analyses.forecast import half_widths
from assets.analyses.forecasters import DAY, FORECASTERS, seasonal_naive

DEMO = Path(__file__).parent.parent / "cli" / "demo" / "house-a.csv.gz"
NOT_METRICS = {"timestamp", "device_id", "anomaly", "anomaly_kind", "changepoint"}


def main(folder: Path | None = None, subjects: tuple[str, ...] = ("anomaly", "forecast", "failure")) -> None:
    if "anomaly" in subjects:
        for model in ("isolation_forest", "autoencoder"):
            house_a(model)
            if folder:
                skab(model, folder / "anomaly" / "skab")
                nab(model, folder / "anomaly" / "nab")
    if folder and "forecast" in subjects:
        rolling_origins(folder / "forecast")
    if folder and "failure" in subjects:
        engines(folder / "failure" / "cmapss_fd001_units_001_060.csv.gz")


def table(rows: pd.DataFrame) -> pa.Table:
    """Rows as a dataset's table; the labels stay out."""
    times = pa.array(pd.to_datetime(rows["timestamp"], utc=True)).cast(pa.timestamp("us", tz="UTC"))
    metrics = {name: rows[name].astype(float).to_numpy() for name in rows if name not in NOT_METRICS}
    return pa.table({"timestamp": times, **metrics})


def house_a(model: str) -> None:
    """Faults found and false alarms: fitted on the first 40 %, and as the demo does it, on everything."""
    rows = pd.read_csv(DEMO)
    times = pd.to_datetime(rows["timestamp"], utc=True)
    for name, until in (("first 40 % said to be normal", times[int(0.4 * len(rows))]), ("nothing said", None)):
        started = time.perf_counter()
        found = analyse("anomaly", model, table(rows), AnomalyParameters(trained_until=until), _quiet)
        flagged = np.zeros(len(rows), bool)
        for event in found.results["events"]:
            flagged |= ((times >= event["start"]) & (times <= event["end"])).to_numpy()
        scored = np.arange(len(rows)) >= int(0.4 * len(rows))
        faults = rows["anomaly"].astype(bool).to_numpy()
        hit = [flagged[part].any() for part in segments(faults)]
        _say(
            f"house-a, {name}", model,
            found=f"{sum(hit)} of {len(hit)}", FAR=_percent(flagged[scored & ~faults].mean()),
            events=len(found.results["events"]), seconds=round(time.perf_counter() - started, 1),
        )  # fmt: skip


def skab(model: str, folder: Path) -> None:
    """Pooled over the files, each fitted on its first 400 rows."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    flags, labels, scores = [], [], []
    for file in sorted(folder.glob("*_[0-9][0-9].csv")):
        rows = pd.read_csv(file)
        flag, score = row_by_row(model, rows, 400)
        flags.append(flag[400:])
        scores.append(score[400:])
        labels.append(rows["anomaly"].astype(bool).to_numpy()[400:])
    flag, label = np.concatenate(flags), np.concatenate(labels)
    hits, false, missed = (flag & label).sum(), (flag & ~label).sum(), (~flag & label).sum()
    auc = np.mean([roc_auc_score(at, score) for at, score in zip(labels, scores, strict=True)])
    _say(
        f"SKAB, {len(flags)} files", model,
        F1=round(2 * hits / (2 * hits + false + missed), 2), FAR=_percent(false / (~label).sum()),
        MAR=_percent(missed / label.sum()), mean_AUC=round(float(auc), 3),
    )  # fmt: skip


def nab(model: str, folder: Path) -> None:
    """Windows hit and false events a week outside of them, fitted on the first min(15 %, 750) rows."""
    windows = json.loads((folder / "windows.json").read_text())
    for file in sorted(folder.glob("*.csv")):
        rows = pd.read_csv(file)
        fitted = min(int(0.15 * len(rows)), 750)
        times = pd.to_datetime(rows["timestamp"], utc=True)
        flag, _ = row_by_row(model, rows, fitted)
        known = next(v for k, v in windows.items() if Path(k).stem == file.stem)
        inside = [
            ((times >= pd.Timestamp(a, tz="UTC")) & (times <= pd.Timestamp(b, tz="UTC"))).to_numpy() for a, b in known
        ]
        outside = [part for part in segments(flag) if part.start >= fitted and not any(w[part].any() for w in inside)]
        weeks = (times.iloc[-1] - times[fitted]).total_seconds() / 604_800
        _say(
            f"NAB {file.stem}", model, windows=f"{sum((flag & w).any() for w in inside)} of {len(inside)}",
            false_events_a_week=round(len(outside) / weeks, 1),
        )  # fmt: skip


def row_by_row(model: str, rows: pd.DataFrame, fitted: int) -> tuple[Any, Any]:
    """Flag and score of every row."""
    frame = readings.frame(table(rows))
    training = np.arange(len(frame)) < fitted
    scores, limit = anomaly.scores_and_limit(model, features(frame, training), training, 1, _quiet)
    if len(frame) < len(rows):  # a moment given twice is one
        at = frame.index.get_indexer(pd.to_datetime(rows["timestamp"], utc=True))
        scores = scores[at]
    return scores > limit, scores


def segments(flags: Any) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0]))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def rolling_origins(folder: Path, horizon: int = 24) -> None:
    """MASE at the origins, and what bands calibrated on the 40 origins before hold."""
    for name, series, first, last in _hourly_series(folder):
        origins = list(range(first, last - horizon, 53))
        calibrating = list(range(first - 40 * 29 - horizon, first - horizon, 29))
        values = series.to_numpy()
        true, past = (np.stack([values[o : o + horizon] for o in at]) for at in (origins, calibrating))
        scale = np.mean(np.abs(values[DAY:first] - values[: first - DAY]))
        naive = np.abs(seasonal_naive(series, origins, horizon) - true).mean() / scale
        for model, forecast in FORECASTERS.items():
            started = time.perf_counter()
            errors = np.abs(forecast(series, origins, horizon) - true)
            before = np.abs(forecast(series, calibrating, horizon) - past)
            held = {f"held_{s:.0%}": round(float((errors <= half_widths(before, s)).mean()), 3) for s in (0.8, 0.95)}
            _say(
                f"{name}, {len(origins)} origins, H={horizon}", model, MASE=round(float(errors.mean() / scale), 3),
                naive_MASE=round(float(naive), 3), **held, seconds=round(time.perf_counter() - started, 1),
            )  # fmt: skip


def _hourly_series(folder: Path) -> Iterator[tuple[str, pd.Series, int, int]]:
    transformer = pd.read_csv(folder / "ETTh1.csv.gz", index_col="date", parse_dates=True)
    for name in ("OT", "HUFL"):
        yield f"ETTh1 {name}", transformer[name], 11_520, 14_400
    with gzip.open(folder / "steel_2018_15min.csv.gz", "rt") as file:
        steel = pd.read_csv(io.StringIO(file.read()), index_col="timestamp", parse_dates=True)
    hourly = steel["power_kw"].resample("1h").mean()
    yield "steel", hourly, int(0.7 * len(hourly)), len(hourly)


def engines(file: Path) -> None:
    """Each model on fleets of runs to failure, one after the other as a machine's life: an hour a cycle."""
    fleet = pd.read_csv(file)
    sensors = [c for c in fleet if c.startswith("s") and c[1:].isdigit() and fleet[c].nunique() > 5]
    fleet["timestamp"] = pd.date_range("2026-01-01", periods=len(fleet), freq="h", tz="UTC")
    last = fleet.groupby("unit")["timestamp"].max() + pd.Timedelta(minutes=30)
    parameters = PredictionParameters(failures=last.dt.to_pydatetime().tolist(), horizon_hours=30)
    for model in ("random_forest", "gradient_boosting"):
        started = time.perf_counter()
        found = analyse("prediction", model, table(fleet[["timestamp", *sensors]]), parameters, _quiet).accuracy_metrics
        shown = {name: found[name] for name in ("pr_auc", "base_rate", "brier", "brier_skill", "failures_tested")}
        _say("C-MAPSS as one machine", model, **shown, seconds=round(time.perf_counter() - started, 1))


def _say(subject: str, model: str, **figures: object) -> None:
    print(f"{subject:44} {model:18}", "  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _quiet(percent: float, message: str) -> None:
    """Nobody waits for words."""


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path, nargs="?")
    asked.add_argument("subjects", nargs="*", default=["anomaly", "forecast", "failure"])
    given = asked.parse_args()
    main(given.folder, tuple(given.subjects))
