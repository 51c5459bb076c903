"""The demo's machines: three feeders, each with its own part of a real household series, and rules for them.

Each feeder has two days without a fault, for an analysis to learn from, and then three days with faults.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from storage.settings import Settings

SERIES = Path(__file__).parent / "house-a.csv.gz"
DAY = 1440  # rows of the series: one a minute, without a gap
GOOD_DAYS, FAULTY_DAYS = 2, 3
FIRST_FAULTY_DAY = 7  # of the series; nothing was injected before
METRICS = ("voltage", "current", "power", "reactive_power")

# What the series shows on a good day, and what its sensors can measure at all.
METADATA = {
    "timezone": "Europe/Paris",
    "cadence_seconds": 60,
    "off_below_w": 30,
    "idle_below_w": 400,
    "bands": {"voltage": [226, 253], "current": [0, 42], "power": [0, 9_500]},
    "limits": {"voltage": [0, 500], "current": [0, 100], "power": [0, 25_000]},
}
DEVICES = [
    {
        "device_id": f"FEEDER-{number}",
        "device_name": f"Feeder {number}",
        "device_type": "feeder",
        "location": "Sceaux, France (household series, see the demo's README)",
        "metadata_json": METADATA,
    }
    for number in (1, 2, 3)
]
DEVICE_IDS = [str(device["device_id"]) for device in DEVICES]
RULES = [
    {
        "rule_name": name,
        "scope": "selected_devices",
        "device_ids": DEVICE_IDS,
        "property": metric,
        "condition": condition,
        "threshold": threshold,
        "severity": severity,
        "cooldown_minutes": 60,
    }
    for name, metric, condition, threshold, severity in (
        ("Voltage sag", "voltage", "<", 226.0, "high"),
        ("Voltage swell", "voltage", ">", 253.0, "high"),
        ("Overcurrent", "current", ">", 42.0, "critical"),
    )
]


@dataclass(frozen=True)
class Sample:
    """One reading of a device, ready to be sent."""

    device_id: str
    time: datetime
    metrics: dict[str, float]

    @property
    def topic(self) -> str:
        return f"devices/{self.device_id}/telemetry"

    def payload(self) -> bytes:
        return json.dumps({"timestamp": self.time.isoformat(), **self.metrics}).encode()


def first_start(settings: Settings) -> datetime:
    """The minute in which the demo first ran in this home. It is kept, so that every run repeats the same readings."""
    file = settings.energy_home / "demo.json"
    try:
        return datetime.fromisoformat(json.loads(file.read_text())["first_start"])
    except FileNotFoundError:
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"first_start": now.isoformat()}))
        new.replace(file)
        return now


def history(end: datetime) -> list[Sample]:
    """Every device's samples, moved in time to end at a moment, in the order of time, as a fleet sends."""
    samples = [
        Sample(device_id, end - (rows[-1][0] - time), metrics) for device_id, rows in _rows() for time, metrics in rows
    ]
    return sorted(samples, key=lambda sample: (sample.time, sample.device_id))


def live(now: datetime, start: datetime) -> Iterator[Sample]:
    """What the devices send now: their samples once more from the beginning, a step a minute."""
    for device_id, rows in _rows():
        step = int((now - start) / timedelta(minutes=1))
        yield Sample(device_id, now, rows[step % len(rows)][1])


def good_until(end: datetime) -> datetime:
    """When the days without a fault end, in a history that ends at `end`."""
    return end - timedelta(minutes=FAULTY_DAYS * DAY - 1)


def _rows() -> Iterator[tuple[str, list[tuple[datetime, dict[str, float]]]]]:
    """Yield each device with its days: the good ones, then the faulty ones moved by whole days to follow them."""
    with gzip.open(SERIES, "rt") as file:
        rows = [_row(row) for row in csv.DictReader(file)]
    for i, device_id in enumerate(DEVICE_IDS):
        good = rows[i * GOOD_DAYS * DAY :][: GOOD_DAYS * DAY]
        faulty = rows[(FIRST_FAULTY_DAY + i * FAULTY_DAYS) * DAY :][: FAULTY_DAYS * DAY]
        shift = faulty[0][0] - good[-1][0] - timedelta(minutes=1)
        yield device_id, [*good, *((time - shift, metrics) for time, metrics in faulty)]


def _row(row: dict[str, Any]) -> tuple[datetime, dict[str, float]]:
    return datetime.fromisoformat(row["timestamp"]), {metric: float(row[metric]) for metric in METRICS}
