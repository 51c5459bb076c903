"""A device-day of 86,400 readings of 4 metrics out of InfluxDB: our Arrow table against `query_data_frame` with pivot.

Each in a process of its own, by turns; memory is what the process grew by over its imports.
"""

import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from statistics import median
from unittest.mock import patch

import numpy as np
from influxdb_client.client.influxdb_client import InfluxDBClient

from benchmarks.floors import say, spread
from benchmarks.load import folder
from storage.devices import NAMED_METRICS
from storage.settings import Settings
from storage.telemetry import Reading
from storage.telemetry.influx import InfluxTelemetry
from storage.times import DAY, SECOND, microseconds, moment, utc_now
from tests.support.stack import influxdb, set_up_influxdb

DEVICE = "M-0001"
REPEATS = 7
START = microseconds(utc_now() - timedelta(days=1)) // DAY * DAY
FLUX = """
from(bucket: "{bucket}") |> range(start: {start}, stop: {stop})
  |> filter(fn: (r) => r._measurement == "device_telemetry" and r.device_id == "{device}")
  |> filter(fn: (r) => {fields})
  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
"""


def main() -> None:
    with folder() as place:
        server = influxdb(place)
        with server.running(), patch.dict(os.environ, set_up_influxdb(server), ENERGY_HOME=str(place / "home")):
            fill()
            with _process() as one, _process() as other:
                turns = [(one.submit(ours).result(), other.submit(theirs).result()) for _ in range(REPEATS + 1)]
    our_seconds, their_seconds = ([run[i][0] for run in turns[1:]] for i in (0, 1))  # the first one warms up
    for name, seconds, peak in (
        ("adapter, Arrow table", our_seconds, turns[-1][0][1]),
        ("query_data_frame, pivot", their_seconds, turns[-1][1][1]),
    ):
        print(f"{name:24} {spread(seconds, 's')}, {peak:.0f} MB more at most")
    ratio = median(their / our for our, their in zip(our_seconds, their_seconds, strict=True))
    say("times as fast", f"{ratio:.1f}", "at least 8", met=ratio >= 8)


def fill() -> None:
    """A day of one reading a second."""
    chosen = np.random.default_rng(1)
    values = np.round(chosen.uniform([220, 0.5, 100, 30], [240, 1.5, 400, 60], (86_400, 4)), 2).tolist()
    store = InfluxTelemetry(Settings.load())
    made = [
        Reading(
            device_id=DEVICE,
            time=START + i * SECOND,
            metrics=dict(zip(NAMED_METRICS, row, strict=True)),
            received_at=START + i * SECOND,
            enrichment_status="success",
            device_type="pump",
            location="Hall 1",
        )
        for i, row in enumerate(values)
    ]
    assert not store.write(made)
    store.close()


def ours() -> tuple[float, float]:
    """Seconds, and megabytes that the process has grown by at most."""
    store = InfluxTelemetry(Settings.load())
    seconds = _timed(lambda: store.read(DEVICE, START, START + DAY).shape, (86_400, 5))
    store.close()
    return seconds, _grown()


def theirs() -> tuple[float, float]:
    s = Settings.load()
    assert s.influxdb_url
    assert s.influxdb_token
    day = {"start": moment(START).isoformat(), "stop": moment(START + DAY).isoformat()}
    fields = " or ".join(f'r._field == "{name}"' for name in NAMED_METRICS)
    flux = FLUX.format(bucket=s.influxdb_bucket, device=DEVICE, fields=fields, **day)
    token = s.influxdb_token.get_secret_value()
    with InfluxDBClient(s.influxdb_url, token, org=s.influxdb_org, timeout=120_000) as client:
        query = client.query_api()
        seconds = _timed(lambda: query.query_data_frame(flux)[["_time", *NAMED_METRICS]].shape, (86_400, 5))
    return seconds, _grown()


def _timed(read: Callable[[], tuple[int, int]], shape: tuple[int, int]) -> float:
    began = time.perf_counter()
    found = read()
    took = time.perf_counter() - began
    assert found == shape, f"{found} rows and columns"
    return took


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=_grown)


_at_first: list[float] = []


def _grown() -> float:
    _at_first.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return _at_first[-1] - _at_first[0]


if __name__ == "__main__":
    main()
