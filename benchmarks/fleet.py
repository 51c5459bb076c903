"""The data of the benchmark `rest`: closed days of readings each second, the open day, and two years of meters."""

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from assets.datasets.export import export_day
from assets.datasets.files import dataset_key, parquet, read_bytes, table_of
from benchmarks.datasets import FILL, TOUCH
from orchestration.resources import Platform
from storage import catalogue, dirty_days
from storage.catalogue import Dataset
from storage.times import microseconds, midnight

TODAY = datetime.now(UTC).date()
YEAR = timedelta(days=365)
# Readings of the last minute are not exported yet.
NEWEST = timedelta(seconds=60)
REGISTER = """
INSERT INTO devices (device_id, device_name, device_type, status, created_at, updated_at)
SELECT 'device-' || i, 'Device ' || i, 'pump', 'active', now(), now() FROM generate_series(1, %s) i
"""
# Devices with a reading a minute over a year: one has power alone, the other one a register as well.
METER_IDS = ("year-of-power", "year-of-register")
METERS = """
INSERT INTO devices (device_id, device_name, device_type, status, created_at, updated_at, metadata_json) VALUES
('year-of-power', 'Power', 'meter', 'active', now(), now(), NULL),
('year-of-register', 'Register', 'meter', 'active', now(), now(), '{"counters": {"energy_total": {"unit": "kWh"}}}')
"""
YEARS = """
INSERT INTO device_telemetry (device_id, time, power, extra, schema_version, enrichment_status, received_at)
SELECT device, %(start)s + i * interval '1 minute', 600 * random(),
       CASE device WHEN 'year-of-register' THEN jsonb_build_object('energy_total', 1000 + i * 0.005) END,
       'v1', 'success', now()
FROM unnest(ARRAY['year-of-power', 'year-of-register']) device, generate_series(0, %(rows)s - 1) i
"""
TOUCH_YEARS = """
INSERT INTO touched_days (device_id, day, first_touched_at, touched_at, dirty_from)
SELECT device, day, now(), now(), day FROM unnest(ARRAY['year-of-power', 'year-of-register']) device,
       generate_series(%(first)s::date, %(last)s::date, interval '1 day') day
"""


def fill_closed_days(url: str, days: int, devices: int, registered: int, *, meters: bool = True) -> None:
    """Fill the registry, the closed days before today, and the year of the two meters."""
    first, year = TODAY - timedelta(days=days), TODAY - YEAR
    with psycopg.connect(url, autocommit=True) as connection:
        for month in sorted({(year + timedelta(days=i)).replace(day=1) for i in range(YEAR.days + 1)}):
            after = (month + timedelta(days=31)).replace(day=1)
            connection.execute(
                f"CREATE TABLE device_telemetry_{month:%Y_%m} PARTITION OF device_telemetry"
                f" FOR VALUES FROM ('{month}') TO ('{after}')"
            )
        connection.execute(REGISTER, (registered,))
        if meters:
            connection.execute(METERS)
            connection.execute(YEARS, {"start": midnight(year), "rows": YEAR.days * 1440})
            connection.execute(TOUCH_YEARS, {"first": year, "last": TODAY - timedelta(days=1)})
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            filled = [pool.submit(_fill, url, i + 1, midnight(first), midnight(TODAY)) for i in range(devices)]
            if meters:
                filled += [pool.submit(_export, name, year, YEAR.days) for name in METER_IDS]
            for done in filled:
                done.result()
        # The closed days have been checked, as those of a platform that runs; else it would begin with that.
        connection.execute("UPDATE datasets SET checks = '{}' WHERE start_date < %s", (TODAY,))
        _settle(connection)


def complete_year(device_id: str) -> None:
    """The closed days of a year before those that the device has: copies of its last closed day, as files alone.

    Such days are those whose readings retention has deleted from the store.
    """
    with Platform().stores() as stores:
        kept = catalogue.newest_of(stores.session, device_id, offset=0, limit=YEAR.days)[0]
        closed = [dataset for dataset in kept if dataset.kind == "day" and dataset.start_date < TODAY]
        model, first = closed[0], closed[-1].start_date
        table = table_of(read_bytes(stores.objects, model))
        day, place = TODAY - YEAR, table.schema.get_field_index("timestamp")
        while day < first:
            later = model.start_date - day
            moved = table.set_column(
                place, table.schema.field(place), pc.subtract(table["timestamp"], pa.scalar(later))
            )
            content, key = parquet(moved), dataset_key(device_id, day, day)
            stores.objects.put(key, content)
            values = model.model_dump(exclude={"id"}) | {
                "hourly": model.hourly, "energy": model.energy,  # lists leave them out
                "key": key, "start_date": day, "end_date": day, "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "first_at": model.first_at and model.first_at - later,
                "last_at": model.last_at and model.last_at - later,
            }  # fmt: skip
            stores.session.add(Dataset(**values))
            day += timedelta(days=1)
        stores.session.commit()


def fill_today(url: str, devices: int, since: datetime, now: datetime) -> None:
    """Go on with the devices' readings from `since` until `now`; all are exported but for those of the last minute."""
    with psycopg.connect(url, autocommit=True) as connection:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            for done in [pool.submit(_fill_open_day, url, i + 1, since, now) for i in range(devices)]:
                done.result()
        _settle(connection)


def _settle(connection: psycopg.Connection) -> None:
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


def _fill_open_day(url: str, number: int, since: datetime, now: datetime) -> None:
    _fill(url, number, since, now - NEWEST)
    with psycopg.connect(url, autocommit=True) as connection, Platform().stores() as stores:
        _readings(connection, number, now - NEWEST, now)
        dirty_days.mark_dirty(stores.session, [(f"device-{number}", microseconds(now - NEWEST))])
        stores.session.commit()


def _fill(url: str, number: int, start: datetime, end: datetime) -> None:
    """Into the store by SQL, from there to its files and the catalogue as the platform does it."""
    with psycopg.connect(url, autocommit=True) as connection:
        _readings(connection, number, start, end)
        last = (end - NEWEST).date()
        connection.execute(TOUCH + "ON CONFLICT DO NOTHING", {"devices": [number], "first": start, "last": last})
    _export(f"device-{number}", start.date(), (last - start.date()).days + 1)


def _readings(connection: psycopg.Connection, number: int, start: datetime, end: datetime) -> None:
    rows = int((end - start).total_seconds())
    connection.execute(FILL, {"start": start, "step": 1, "devices": [number], "rows": rows})


def _export(device_id: str, first: date, days: int) -> None:
    with Platform().stores() as stores:
        for i in range(days):
            export_day(stores, device_id, first + timedelta(days=i))
