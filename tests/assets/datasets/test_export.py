import hashlib
import io
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session, select

from assets.datasets.export import claimed_day, export_day
from assets.datasets.files import DatasetReplaced, read, reread_if_replaced
from storage import catalogue, checkpoints, day_figures, dirty_days
from storage.catalogue import Dataset
from storage.checkpoints import ExportCheckpoint
from storage.devices import Device
from storage.dirty_days import DirtyDay
from storage.jobs import AnalyticsJob, new_job_id
from storage.stores import Stores
from storage.times import microseconds, midnight, moment, utc_now
from tests.support.plant import DAY, reading, store

TWELVE = [
    "timestamp",
    "device_id",
    "device_type",
    "location",
    "voltage",
    "current",
    "power",
    "temperature",
    "hour",
    "day_of_week",
    "is_weekend",
    "power_factor",
]


def file(stores: Stores, dataset: Dataset) -> pa.Table:
    return pq.read_table(io.BytesIO(stores.objects.get(dataset.key)))


def test_a_day_of_one_device(stores: Stores) -> None:
    stores.session.add(
        Device(
            device_id="D1",
            device_name="Pump",
            device_type="pump",
            tenant_id="acme",
            metadata_json='{"timezone": "Asia/Kolkata", "counters": {"kwh": {"unit": "kWh"}}}',
        )
    )
    store(stores, reading(0, voltage=230, current=2, power=391), reading(1439, kwh=7.5), reading(1440), reading(-0.001))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    assert exported.changed
    dataset, table = exported.dataset, file(stores, exported.dataset)
    assert dataset.key == "datasets/D1/20260212_20260212.parquet"
    assert (dataset.rows, dataset.kind, dataset.tenant_id, dataset.run_id) == (2, "day", "acme", "run-1")
    assert dataset.sha256 == hashlib.sha256(stores.objects.get(dataset.key)).hexdigest()
    assert dataset.metrics["voltage"] == {"count": 1, "min": 230, "max": 230, "sum": 230}
    assert "temperature" not in dataset.metrics
    assert table.column_names == [*TWELVE, "kwh", "corrected"]
    first, last = table.to_pylist()
    assert first["timestamp"] == datetime(2026, 2, 12, tzinfo=UTC)
    assert first["power_factor"] == pytest.approx(0.85)
    assert (first["hour"], first["day_of_week"], first["is_weekend"]) == (5, 3, False)
    assert (last["hour"], last["day_of_week"], last["power_factor"], last["kwh"]) == (5, 4, None, 7.5)
    assert table.schema.field("power").metadata == {b"unit": b"W"}
    assert table.schema.field("kwh").metadata == {b"unit": b"kWh"}
    assert (
        pq.ParquetFile(io.BytesIO(stores.objects.get(dataset.key))).metadata.row_group(0).column(0).compression
        == "SNAPPY"
    )


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"voltage": 230, "current": 1, "power": 230}, 1.0),
        ({"voltage": 230, "current": 1, "power": 241}, 241 / 230),
        ({"voltage": 230, "current": 1, "power": 242}, None),
        ({"voltage": 230, "current": 1, "power": -5}, None),
        ({"voltage": 230, "current": 0, "power": 5}, None),
        ({"voltage": 230, "power": 5}, None),
        ({"voltage": 230, "current": 1, "power": 115, "power_factor": 0.9}, 0.9),
    ],
)
def test_power_factor(stores: Stores, metrics: dict[str, float], expected: float | None) -> None:
    store(stores, reading(0, **metrics), reading(1, power_factor=0.7), reading(2, power=1.0))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    table = file(stores, exported.dataset)
    value = table["power_factor"][0].as_py()
    assert value == expected if expected is None else math.isclose(value, expected)
    assert table.column_names == [*TWELVE, "corrected"]


def test_the_same_readings_make_the_same_bytes(stores: Stores) -> None:
    store(stores, *(reading(m) for m in range(100)))
    first = export_day(stores, "D1", DAY)
    again = export_day(stores, "D1", DAY)
    assert first is not None
    assert again is not None
    assert (again.changed, again.dataset.id, again.dataset.sha256) == (False, first.dataset.id, first.dataset.sha256)
    (row,) = stores.session.exec(select(ExportCheckpoint)).all()
    assert (row.last_sequence, row.record_count, row.status) == (2, 100, "COMPLETED")


def test_late_data_makes_a_new_version_of_a_closed_day(stores: Stores) -> None:
    store(stores, reading(0))
    assert export_day(stores, "D1", DAY)
    store(stores, reading(1))
    assert [(t.device_id, t.day) for t in dirty_days.waiting(stores.session)] == [("D1", DAY)]
    newer = export_day(stores, "D1", DAY)
    assert newer is not None
    assert newer.changed
    rows = stores.session.exec(select(Dataset).order_by(Dataset.id)).all()  # type: ignore[arg-type] # a column
    assert [(r.rows, r.superseded_at is None) for r in rows] == [(1, False), (2, True)]
    assert not dirty_days.waiting(stores.session)


def test_the_open_days_row_is_replaced(stores: Stores, open_day: date) -> None:
    minutes = (open_day - DAY).days * 1440
    store(stores, reading(minutes))
    one = export_day(stores, "D1", open_day)
    store(stores, reading(minutes + 0.001))
    two = export_day(stores, "D1", open_day)
    assert one is not None
    assert two is not None
    (row,) = stores.session.exec(select(Dataset)).all()
    assert (row.rows, row.id) == (2, one.dataset.id)


def test_an_export_that_dies_leaves_its_mark(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store(stores, reading(0))

    with monkeypatch.context() as patch:
        patch.setattr(stores.objects, "put", raising(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            export_day(stores, "D1", DAY)
    assert [t.claimed_at is not None for t in dirty_days.waiting(stores.session)] == [True]
    assert export_day(stores, "D1", DAY)
    assert not dirty_days.waiting(stores.session)


def test_what_arrives_during_an_export_is_exported_by_the_next(stores: Stores) -> None:
    store(stores, reading(0))
    with claimed_day(stores.session, "D1", DAY):
        dirty_days.mark_dirty(stores.session, [("D1", reading(0).time)])
        stores.session.commit()
    (row,) = dirty_days.waiting(stores.session)
    assert (row.dirty, row.claimed_at) == (True, None)


def test_a_day_knows_which_readings_its_file_may_lack(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earliest of what came since the export, in whatever order; a dying export forgets nothing of it."""

    def changed_from() -> datetime | None:
        (day_file,) = day_figures.day_files(stores.session, "D1", DAY, DAY)
        return day_file.changed_from

    def at(minute: int) -> datetime:
        return moment(reading(minute).time)

    store(stores, reading(7), reading(0))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    assert (exported.dataset.first_at, exported.dataset.last_at) == (at(0), at(7))
    assert changed_from() is None
    for minute, expected in ((9, 9), (10, 9), (3, 3), (12, 3)):
        store(stores, reading(minute))
        assert changed_from() == at(expected)
    with monkeypatch.context() as patch:
        patch.setattr(stores.objects, "put", raising(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            export_day(stores, "D1", DAY)
    assert changed_from() == at(3)
    store(stores, reading(5))
    assert changed_from() == at(3)
    with claimed_day(stores.session, "D1", DAY):
        assert changed_from() == at(3)
        store(stores, reading(8))
    assert changed_from() == at(8)
    export_day(stores, "D1", DAY)
    assert changed_from() is None


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_two_writers_of_one_device_day_wait_for_each_other(stores: Stores, engine: Engine) -> None:
    store(stores, *(reading(m) for m in range(50)))

    def export(_: int) -> bool:
        with Session(engine, expire_on_commit=False) as session:
            mine = Stores(session, stores.telemetry, stores.objects, stores.zone)
            exported = export_day(mine, "D1", DAY)
            assert exported is not None
            return exported.changed

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(export, range(4))) == [False, False, False, True]
    assert len(stores.session.exec(select(Dataset)).all()) == 1
    assert not stores.session.exec(select(DirtyDay).where(DirtyDay.dirty_from != None)).all()  # noqa: E711


def test_each_hour_is_in_the_catalogue(stores: Stores) -> None:
    store(stores, reading(0, power=5), reading(59, power=-1), reading(61, voltage=230), reading(1439, power=7))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    assert exported.dataset.hourly is not None
    power = exported.dataset.hourly["power"]
    assert (power["count"][:2], power["count"][23]) == ([2, 0], 1)
    assert (power["min"][:2], power["max"][:2], power["sum"][:2]) == ([-1, None], [5, None], [4, 0])
    assert (power["max"][23], exported.dataset.hourly["voltage"]["sum"][1]) == (7, 230)
    assert exported.dataset.energy is not None
    assert exported.dataset.energy["metrics"]["power"]["first"] == (microseconds(midnight(DAY)), 5.0)


def result_from(stores: Stores, dataset: Dataset) -> None:
    """Record an analysis that was made from the file."""
    job = AnalyticsJob(
        job_id=new_job_id(AnalyticsJob), device_id="D1", analysis_type="forecast", model_name="any",
        date_range_start=utc_now(), date_range_end=utc_now(), status="completed",
        results={"provenance": {"datasets": [{"key": dataset.key, "sha256": dataset.sha256}]}},
    )  # fmt: skip
    stores.session.add(job)
    stores.session.commit()


def versions(stores: Stores) -> list[str]:
    return [o.key for o in stores.objects.list("versions")]


def test_a_file_that_a_result_was_made_from_is_kept(stores: Stores) -> None:
    store(stores, reading(0))
    first = export_day(stores, "D1", DAY)
    assert first is not None
    result_from(stores, first.dataset)
    sha256 = first.dataset.sha256
    store(stores, reading(1))
    second = export_day(stores, "D1", DAY)
    store(stores, reading(2))
    export_day(stores, "D1", DAY)
    assert second is not None
    old, unused, newest = stores.session.exec(select(Dataset).order_by(Dataset.id)).all()  # type: ignore[arg-type] # a column
    stores.session.refresh(old)
    assert versions(stores) == [old.version_key] == [f"versions/{sha256}.parquet"]
    assert (unused.version_key, newest.superseded_at) == (None, None)
    assert read(stores.objects, [old]).num_rows == 1
    with pytest.raises(DatasetReplaced):
        read(stores.objects, [unused])


def test_an_open_day_that_a_result_was_made_from_stays_in_the_catalogue(stores: Stores, open_day: date) -> None:
    minutes = (open_day - DAY).days * 1440
    store(stores, reading(minutes))
    first = export_day(stores, "D1", open_day)
    assert first is not None
    result_from(stores, first.dataset)
    store(stores, reading(minutes + 1e-4))
    export_day(stores, "D1", open_day)
    rows = stores.session.exec(select(Dataset)).all()
    assert sorted((r.rows, r.version_key is not None) for r in rows) == [(1, True), (2, False)]


def test_a_reader_of_a_file_that_is_being_replaced_chooses_again(stores: Stores) -> None:
    store(stores, reading(0))
    first = export_day(stores, "D1", DAY)
    assert first is not None
    selected: list[int] = []

    @reread_if_replaced
    def read_selected(stores: Stores) -> tuple[list[Dataset], pa.Table]:
        datasets = catalogue.datasets_of(stores.session, "D1")
        if not selected:
            store(stores, reading(1))
            export_day(stores, "D1", DAY)
            datasets = [Dataset.model_validate(first_row)]
        selected.append(len(datasets))
        return datasets, read(stores.objects, datasets)

    first_row = first.dataset.model_dump()
    datasets, table = read_selected(stores)
    assert (len(table), datasets[0].rows, len(selected)) == (2, 2, 2)


def test_a_reader_gives_up_if_a_file_never_matches_its_row(stores: Stores) -> None:
    store(stores, reading(0))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    stores.objects.put(exported.dataset.key, b"spoiled")
    attempts: list[str] = []

    @reread_if_replaced
    def read_day(stores: Stores) -> pa.Table:
        datasets = catalogue.datasets_of(stores.session, "D1")
        attempts.append(datasets[0].key)
        return read(stores.objects, datasets)

    with pytest.raises(DatasetReplaced, match=r"is being replaced\. Try again in a minute\.$"):
        read_day(stores)
    assert len(attempts) == 5


@pytest.mark.parametrize("moment", ["put", "put_after", "record", "checkpoint", "read"])
def test_an_export_that_dies_anywhere_is_completed_by_the_next(
    stores: Stores, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stores, reading(0))
    first = export_day(stores, "D1", DAY)
    assert first is not None
    result_from(stores, first.dataset)
    store(stores, reading(1))
    objects, put = stores.objects, stores.objects.put

    class Killed(BaseException):
        """As a kill: nothing after it is done."""

    def dies(*_: object, **__: object) -> None:
        raise Killed

    def put_and_die(key: str, data: bytes) -> None:
        put(key, data)
        if key.startswith("datasets"):
            raise Killed

    with monkeypatch.context() as patch:
        target, name, fault = {
            "read": (stores.telemetry, "read", dies),
            "put": (objects, "put", dies),
            "put_after": (objects, "put", put_and_die),
            "record": (catalogue, "record", dies),
            "checkpoint": (checkpoints, "note_export", dies),
        }[moment]
        patch.setattr(target, name, fault)
        with pytest.raises(Killed):
            export_day(stores, "D1", DAY)
    assert [(t.device_id, t.day) for t in dirty_days.waiting(stores.session)] == [("D1", DAY)]
    again = export_day(stores, "D1", DAY)
    assert again is not None
    assert again.dataset.rows == 2
    assert file(stores, again.dataset).num_rows == 2
    assert not dirty_days.waiting(stores.session)
    rows = stores.session.exec(select(Dataset)).all()
    assert sorted((r.rows, r.superseded_at is None) for r in rows) == [(1, False), (2, True)]
    assert versions(stores) == [f"versions/{first.dataset.sha256}.parquet"]
    assert [o.key for o in objects.list("datasets")] == [again.dataset.key]


def test_what_the_telemetry_store_deleted_stays_in_the_file(stores: Stores, engine: Engine) -> None:
    store(stores, reading(0), reading(1, vibration=2.0), reading(2))
    first = export_day(stores, "D1", DAY)
    assert first is not None
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM device_telemetry"))
        connection.execute(text("UPDATE touched_days SET expired_at = now()"))
    again = export_day(stores, "D1", DAY)
    assert again is not None
    assert (again.changed, again.dataset.sha256) == (False, first.dataset.sha256)
    store(stores, reading(1, power=7), reading(0.5))
    late = export_day(stores, "D1", DAY)
    assert late is not None
    table = file(stores, late.dataset)
    assert table["power"].to_pylist() == [100, 100.5, 7, 102]
    assert table.column_names == [*TWELVE, "vibration", "corrected"]


def test_readings_are_fetched_about_so_many_at_a_time(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store(stores, *(reading(m) for m in range(1440)))
    sizes: list[int] = []
    read = stores.telemetry.read

    def counted(*arguments: Any, **options: Any) -> pa.Table:
        sizes.append(len(rows := read(*arguments, **options)))
        return rows

    monkeypatch.setattr(stores.telemetry, "read", counted)
    exported = export_day(replace(stores, fetch_rows=300), "D1", DAY)
    assert exported is not None
    assert (exported.dataset.rows, sum(sizes), sizes[0]) == (1440, 1440, 60)
    assert max(sizes) == 300
    sizes.clear()
    export_day(replace(stores, fetch_rows=7), "D1", DAY)
    assert set(sizes) == {60}


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_days_of_23_and_25_hours(stores: Stores, day: date, hours: int) -> None:
    """The partitions stay UTC; the local day of Paris is as long as it was."""
    stores.session.add(
        Device(device_id="D1", device_name="Pump", device_type="pump", metadata_json='{"timezone": "Europe/Paris"}')
    )
    first = ((day - DAY).days - 1) * 1440
    store(stores, *(reading(first + 30 * i) for i in range(3 * 48)))
    tables = []
    for offset in (-1, 0, 1):
        exported = export_day(stores, "D1", day + timedelta(days=offset))
        assert exported is not None
        assert exported.dataset.rows == 48
        tables.append(file(stores, exported.dataset))
    times = pa.concat_tables(tables)["timestamp"].cast(pa.timestamp("us", tz="Europe/Paris"))
    local = pc.strftime(pc.local_timestamp(times), "%Y-%m-%d")
    that_day = pa.concat_tables(tables).filter(pc.equal(local, day.isoformat()))
    assert len(that_day) == 2 * hours
    counted = that_day["hour"].value_counts().to_pylist()
    odd = {c["values"]: c["counts"] for c in counted if c["counts"] != 2}
    assert odd == ({} if hours == 23 else {2: 4})
    assert len(counted) == (23 if hours == 23 else 24)
    assert set(that_day["day_of_week"].to_pylist()) == {6}
