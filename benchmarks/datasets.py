"""Datasets: a device-day of 86,400 rows against the bare read and the bare write; a run of 1,000 device-days; the tick.

On a PostgreSQL of its own, durable as the platform's. `--devices N` (1,000) for the run, `--registered N` (10,000).
"""

import argparse
import io
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from unittest import mock

import dagster as dg
import psycopg
import pyarrow.parquet as pq

from assets.datasets import export_day
from assets.datasets.files import ROW_GROUP, read
from cli.local import postgres
from orchestration.datasets.cadence import export_touched_days
from orchestration.datasets.daily import ExportConfig, telemetry_dataset
from orchestration.resources import Platform
from storage.database import migrate
from storage.settings import Settings
from storage.stores import Stores
from storage.times import DAY, microseconds, midnight
from tests.support.servers import free_port, wait_until

FIRST = date(2026, 2, 1)
REPEATS = 5
FILL = """
INSERT INTO device_telemetry (device_id, time, voltage, current, power, temperature, schema_version,
                              enrichment_status, device_type, received_at)
SELECT 'device-' || d, %(start)s + i * %(step)s * interval '1 second',
       225 + 10 * random(), 1 + random(), 300 * random(),
       40 + 5 * random(), 'v1', 'success', 'pump', %(start)s + i * %(step)s * interval '1 second'
FROM unnest(%(devices)s::int[]) d, generate_series(0, %(rows)s - 1) i
"""
TOUCH = """
INSERT INTO touched_days (device_id, day, first_touched_at, touched_at, dirty_from)
SELECT 'device-' || d, day, now(), now(), day
FROM unnest(%(devices)s::int[]) d, generate_series(%(first)s::date, %(last)s::date, interval '1 day') day
"""


def _answers(url: str) -> bool:
    psycopg.connect(url, connect_timeout=1).close()
    return True


@contextmanager
def database() -> Iterator[str]:
    """A migrated PostgreSQL, as the environment's settings have it from then on."""
    with tempfile.TemporaryDirectory(prefix="energy-bench-") as folder:
        Path(folder).chmod(0o755)
        with mock.patch.dict(os.environ, ENERGY_HOME=folder, POSTGRES_PORT=str(free_port())):
            settings = Settings.load()
            server = postgres.prepare(settings)
            process = subprocess.Popen(
                server.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **server.identity
            )
            try:
                wait_until(lambda: _answers(settings.database_url), "PostgreSQL answers")
                migrate(settings)
                yield settings.database_url
            finally:
                process.send_signal(2)
                process.wait(20)


def fill(url: str, day: date, devices: int, rows: int) -> None:
    start = midnight(day)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS device_telemetry_2026_02 PARTITION OF device_telemetry"
            " FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')"
        )
        numbers = list(range(1, devices + 1))
        connection.execute(FILL, {"start": start, "step": 86_400 / rows, "devices": numbers, "rows": rows})
        connection.execute(TOUCH, {"devices": numbers, "first": day, "last": day})
        connection.execute("VACUUM ANALYZE device_telemetry")


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def spread(seconds: list[float]) -> str:
    return f"{median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def device_day(url: str) -> None:
    """The store's rows as a dataset, and for comparison only read, and only written."""
    days = [FIRST + timedelta(days=i) for i in range(REPEATS)]
    for day in days:
        fill(url, day, 1, 86_400)
    with Platform().stores() as stores:
        bare, whole = [], []
        for day in days:
            bare.append(_bare_read(stores, day))
            whole.append(timed(lambda day=day: export_day(stores, "device-1", day)))  # type: ignore[misc] # bound now
        made = export_day(stores, "device-1", days[0])
        assert made is not None
        table = read(stores.objects, [made.dataset])
        writes = [
            timed(lambda: pq.write_table(table, io.BytesIO(), compression="snappy", row_group_size=ROW_GROUP))
            for _ in days
        ]
    ratio = (median(bare) + median(writes)) / median(whole)
    print(f"device-day of {made.dataset.rows} rows   {spread(whole)}; bar 0.5 s")
    print(f"  bare read            {spread(bare)}")
    print(f"  bare pyarrow write   {spread(writes)}")
    print(f"  bare read and write / whole   {ratio:.2f}; bar 0.5")


def _bare_read(stores: Stores, day: date) -> float:
    start = microseconds(midnight(day))
    return timed(lambda: stores.telemetry.read("device-1", start, start + DAY, context=True))


def one_run(url: str, devices: int) -> None:
    """All touched device-days of a day in one run of the asset, in this process."""
    peaks = []
    for count, day in ((devices // 10, FIRST + timedelta(days=10)), (devices, FIRST + timedelta(days=11))):
        fill(url, day, count, 1440)
        with dg.DagsterInstance.ephemeral() as instance:
            config = dg.RunConfig(ops={"telemetry_dataset": ExportConfig(only_touched=True)})
            seconds = timed(
                lambda day=day, config=config, instance=instance: dg.materialize(  # type: ignore[misc] # bound now
                    [telemetry_dataset], partition_key=day.isoformat(), instance=instance,
                    resources={"platform": Platform()}, run_config=config,
                )
            )  # fmt: skip
        peaks.append(peak_mb())
        print(f"run of {count} device-days of 1440 rows   {seconds:.1f} s, peak {peaks[-1]:.0f} MB")
    print("  bars for 1000: 40 s, 600 MB; the peak does not grow with the devices")


def tick(url: str, registered: int) -> None:
    """What the sensor needs to decide, with a large registry: nothing touched, then everything."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE touched_days SET dirty_from = NULL")
        connection.execute(
            "INSERT INTO devices (device_id, device_name, device_type, status, created_at, updated_at)"
            " SELECT 'device-' || d, 'Device', 'pump', 'active', now(), now() FROM generate_series(1, %s) d",
            (registered,),
        )
        with dg.DagsterInstance.ephemeral() as instance:
            quiet = _ticks(instance)
            today = datetime.now(UTC).date()
            connection.execute(TOUCH, {"devices": list(range(1, registered + 1)), "first": today, "last": today})
            busy = _ticks(instance)
    print(f"tick with {registered} devices, nothing touched   {spread(quiet)}; bar 0.2 s")
    print(f"tick with {registered} devices, all touched       {spread(busy)}; bar 0.2 s")


def _ticks(instance: dg.DagsterInstance) -> list[float]:
    def evaluate() -> None:
        resources = {"platform": Platform()}
        with dg.build_sensor_context(instance=instance, cursor="begun", resources=resources) as context:
            export_touched_days(context)

    return [timed(evaluate) for _ in range(REPEATS)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--devices", type=int, default=1000)
    arguments.add_argument("--registered", type=int, default=10_000)
    options, _ = arguments.parse_known_args()
    with database() as url, mock.patch.dict(os.environ, DAGSTER_HOME=""):
        device_day(url)
        one_run(url, options.devices)
        tick(url, options.registered)


if __name__ == "__main__":
    main()
