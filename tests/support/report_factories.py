"""Inputs of reports, from the demo's real household series, with results in the shapes of analyses and rules."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from assets.datasets.columns import power_factor
from assets.reports import ReportInput
from assets.reports.compose import compose
from assets.reports.content import ReportContent
from assets.reports.measures import Measured
from cli.demo.fleet import SERIES
from storage.devices import NAMED_METRICS, UNITS
from storage.telemetry import TIME

PARIS = ZoneInfo("Europe/Paris")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2006, 12, 17, tzinfo=PARIS)
BANDS = {"voltage": (226.0, 253.0), "current": (0.0, 42.0), "power": (0.0, 9500.0)}


@cache
def series() -> list[dict[str, str]]:
    """The rows of the series: one reading a minute for 16.5 days from 2006-12-16 17:24 UTC."""
    with gzip.open(SERIES, "rt") as file:
        return list(csv.DictReader(file))


def table(device_id: str, times: list[datetime], metrics: Mapping[str, Sequence[float | None]]) -> pa.Table:
    """Readings with the columns of a dataset that a report reads."""
    columns = {name: pa.array(metrics.get(name, [None] * len(times)), pa.float64()) for name in NAMED_METRICS}
    columns["power_factor"] = power_factor(pa.table(columns))
    columns |= {name: pa.array(metrics[name], pa.float64()) for name in metrics if name not in NAMED_METRICS}
    units = {**UNITS, "reactive_power": "var"}
    fields = [
        pa.field("timestamp", TIME),
        pa.field("device_id", pa.string()),
        *(pa.field(n, pa.float64(), metadata={"unit": units[n]} if n in units else None) for n in columns),
    ]
    ids = pa.repeat(pa.scalar(device_id, pa.string()), len(times))
    return pa.table([pa.array(times, TIME), ids, *columns.values()], schema=pa.schema(fields))


@cache
def house(start: datetime = START, end: datetime = START + 7 * DAY, *, moved: timedelta = timedelta()) -> ReportInput:
    """The household from start to end, a week by default, with the anomalies that are labelled in the series.

    `moved` shifts the series in time before that.
    """
    rows = [(datetime.fromisoformat(row["timestamp"]) + moved, row) for row in series()]
    inside = [(time, row) for time, row in rows if start <= time < end]
    names = ("voltage", "current", "power", "reactive_power")
    metrics = {name: [float(row[name]) for _, row in inside] for name in names}
    return ReportInput(
        report_id="report-0123456789ab",
        device_id="HOUSE-A",
        device_name="House A, main feeder",
        device_type="feeder",
        location="Sceaux, France",
        zone=PARIS,
        start=start,
        end=end,
        readings=table("HOUSE-A", [time for time, _ in inside], metrics),
        alerts=[_alert(time, float(row["voltage"])) for time, row in inside if float(row["voltage"]) < 228][::20],
        analyses={"anomaly": _anomaly(inside), "forecast": _forecast(inside)} if inside else {},
        generated_at=end.astimezone(UTC) + timedelta(hours=2),
        datasets=[_file(start.astimezone(UTC) + i * DAY) for i in range((end - start).days + 1)],
        bands=BANDS,
        cadence_seconds=60.0,
        code_version="1.0.0",
    )


def bare(start: datetime, end: datetime, readings: pa.Table | None = None, **changes: Any) -> ReportInput:
    """A report of a device without metadata, alerts or analyses."""
    plain = ReportInput(
        report_id="report-0123456789ab",
        device_id="D1",
        device_name="D1",
        device_type="pump",
        location=None,
        zone=PARIS,
        start=start,
        end=end,
        readings=table("D1", [], {}) if readings is None else readings,
        alerts=[],
        analyses={},
        generated_at=end.astimezone(UTC) + HOUR,
        datasets=[],
        code_version="1.0.0",
    )
    return replace(plain, **changes)


def _alert(time: datetime, volts: float) -> dict[str, Any]:
    return {
        "alert_id": f"00000000-0000-4000-8000-{int(time.timestamp()):012d}",
        "rule_id": "11111111-0000-4000-8000-000000000000",
        "device_id": "HOUSE-A",
        "severity": "high",
        "message": f"Device HOUSE-A: voltage is {volts} (threshold: < 228.0)",
        "actual_value": volts,
        "threshold_value": 228.0,
        "status": ("open", "acknowledged", "resolved")[time.minute % 3],
        "created_at": time.isoformat(),
        "reading_time": time.isoformat(),
        "rule": {"rule_name": "Voltage sag", "property": "voltage", "condition": "<", "threshold": 228.0},
    }


def _anomaly(rows: list[tuple[datetime, dict[str, str]]]) -> dict[str, Any]:
    events = []
    for kind, group in groupby(rows, key=lambda row: row[1]["anomaly_kind"]):
        segment = list(group)
        if kind:
            events.append(
                {
                    "start": segment[0][0].isoformat(),
                    "end": segment[-1][0].isoformat(),
                    "metric": "voltage" if "voltage" in kind else "power",
                    "score": 3.0 + len(segment) / 60,
                    "points": len(segment),
                }
            )
    flagged = [
        {"timestamp": time.isoformat(), "value": float(row["power"]), "is_anomaly": True, "anomaly_score": 4.2}
        for time, row in rows
        if row["anomaly"] == "1"
    ]
    return {
        "job_id": "job-aaaaaaaaaaaa",
        "model_name": "isolation_forest",
        "dataset_key": None,
        "completed_at": (rows[-1][0] + MINUTE).isoformat(),
        "results": {"anomalies": flagged, "events": events, "threshold": 2.6},
        "accuracy_metrics": {
            "precision": None,
            "recall": None,
            "reason": "there are no labels",
            "flagged_share": 0.011,
        },
    }


def _forecast(rows: list[tuple[datetime, dict[str, str]]]) -> dict[str, Any]:
    """A forecast that repeats the hourly means of the last day."""
    hourly = {
        hour: float(np.mean([float(row["power"]) for _, row in group]))
        for hour, group in groupby(rows, key=lambda row: row[0].replace(minute=0, second=0))
    }
    last = max(hourly)
    ahead = [(last + (i + 1) * HOUR, hourly.get(last + (i - 23) * HOUR, 1000.0)) for i in range(24)]
    return {
        "job_id": "job-ffffffffffff",
        "model_name": "seasonal_naive",
        "dataset_key": None,
        "completed_at": (rows[-1][0] + MINUTE).isoformat(),
        "results": {
            "metric": "power",
            "unit": "W",
            "history": [{"timestamp": hour.isoformat(), "value": value} for hour, value in hourly.items()],
            "forecast": [
                {
                    "timestamp": hour.isoformat(),
                    "value": value,
                    "lower": value - 800,
                    "upper": value + 1500,
                    "lower_80": value - 400,
                    "upper_80": value + 700,
                }
                for hour, value in ahead
            ],
        },
        "accuracy_metrics": {
            "mae": 412.3,
            "mase": 0.91,
            "coverage_95": 0.947,
            "coverage_80": 0.81,
            "beats_baseline": True,
        },
    }


def _file(day: datetime) -> dict[str, Any]:
    return {"key": f"datasets/HOUSE-A/{day:%Y%m%d}_{day:%Y%m%d}.parquet", "sha256": f"{day:%Y%m%d}" * 8, "rows": 1440}


def content_of(data: ReportInput) -> ReportContent:
    """The content of the report of that input."""
    return compose(Measured.of(data))


def steady(start: datetime, end: datetime, *, watts: float = 1000.0, step: timedelta = MINUTE) -> pa.Table:
    """Readings of constant power from start up to end, not included."""
    first = start.astimezone(UTC)
    times = [first + i * step for i in range(-(-(end.astimezone(UTC) - first) // step))]
    return table("D1", times, {"power": [watts] * len(times), "voltage": [230.0] * len(times)})
