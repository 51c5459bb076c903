import hashlib
import socket
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from assets.datasets import Exported, export_day
from assets.datasets.files import read
from assets.quality import QUALITY_CHECKS
from orchestration.datasets import daily
from orchestration.datasets.backfill import backfill
from orchestration.datasets.daily import ExportConfig, telemetry_dataset
from orchestration.datasets.observations import DEVICE_HISTORY, TELEMETRY, TELEMETRY_DATASET
from orchestration.definitions import defs
from orchestration.resources import Platform
from storage import catalogue, dirty_days
from storage.catalogue import Dataset
from storage.checkpoints import ExportCheckpoint
from storage.job_runs import JOB_ID_TAG
from storage.jobs import ExportJob, new_job_id
from storage.objects import ObjectStoreUnavailable
from storage.settings import Settings
from storage.stores import Stores
from storage.times import midnight, utc_now
from tests.support.plant import DAY, DAY_MINUTES, reading, store


def export(instance: dg.DagsterInstance, platform: Platform, day: str, **config: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [telemetry_dataset], partition_key=day, instance=instance, resources={"platform": platform},
        run_config=dg.RunConfig(ops={"telemetry_dataset": ExportConfig(**config)}),
    )  # fmt: skip


def test_a_day_becomes_files_with_metadata_in_dagster(
    stores: Stores, platform: Platform, kept_instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0), reading(1), reading(0, "D2"), reading(DAY_MINUTES, "D2"))
    assert export(kept_instance, platform, "2026-02-12").success
    event = kept_instance.get_latest_materialization_event(TELEMETRY_DATASET)
    assert event
    assert event.asset_materialization
    metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert event.asset_materialization.partition == "2026-02-12"
    assert (metadata["dagster/partition_row_count"], metadata["devices"], metadata["files written"]) == (3, 2, 2)
    assert "data:image/png;base64" in str(metadata["chart"])
    assert metadata["period"] == "2026-02-12"
    assert str(metadata["data of all machines"]).endswith("/data?end_date=2026-02-12")
    files = catalogue.of_day(stores.session, DAY)
    assert metadata["sha256"] == hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    for file in files:
        assert f"/api/v1/analytics/datasets/download?dataset_key={file.key})" in str(metadata["files"])
        assert file.sha256 in str(metadata["files"])
    assert [t.day for t in dirty_days.waiting(stores.session)] == [DAY + timedelta(days=1)]


def test_late_data_makes_the_devices_results_stale(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0), reading(0, "D2"))
    export(instance, platform, "2026-02-12")
    versions = [data_version(instance, device) for device in ("D1", "D2")]
    store(stores, reading(1))
    export(instance, platform, "2026-02-12", only_touched=True)
    assert data_version(instance, "D1") != versions[0]
    assert data_version(instance, "D2") == versions[1]


def data_version(instance: dg.DagsterInstance, device_id: str) -> str:
    records = instance.fetch_observations(
        dg.AssetRecordsFilter(DEVICE_HISTORY, asset_partitions=[device_id]), limit=1
    ).records
    assert records[0].asset_observation
    return records[0].asset_observation.tags["dagster/data_version"]


def test_a_range_of_days_is_one_run(stores: Stores, platform: Platform, instance: dg.DagsterInstance) -> None:
    store(stores, reading(0), reading(2 * DAY_MINUTES))
    result = dg.materialize(
        [telemetry_dataset], instance=instance, resources={"platform": platform},
        tags={"dagster/asset_partition_range_start": "2026-02-12", "dagster/asset_partition_range_end": "2026-02-14"},
    )  # fmt: skip
    assert result.success
    assert {d.start_date.day for d in stores.session.exec(select(Dataset))} == {12, 14}


def shown_checks(instance: dg.DagsterInstance, day: date) -> set[tuple[str, str]]:
    """The checks of a day as Dagster's pages show them: results of its newest materialization."""
    keys = [dg.AssetCheckKey(TELEMETRY_DATASET, kind) for kind in QUALITY_CHECKS]
    infos = instance.event_log_storage.get_asset_check_partition_info(keys, partition_keys=[day.isoformat()])
    return {(info.check_key.name, info.latest_execution_status.value) for info in infos if info.is_current}


def catalogued(stores: Stores, day: date) -> set[tuple[str, str]]:
    """The checks of a day as they must be shown, by the catalogue."""
    stores.session.expire_all()
    of_devices = [dataset.checks or {} for dataset in catalogue.of_day(stores.session, day)]
    failed = {kind for checks in of_devices for kind, check in checks.items() if check["status"] != "ok"}
    return {(kind, "FAILED" if kind in failed else "SUCCEEDED") for kind in QUALITY_CHECKS}


@pytest.mark.slow
def test_whatever_makes_a_day_shows_its_checks(stores: Stores, kept_instance: dg.DagsterInstance) -> None:
    store(stores, reading(0), reading(DAY_MINUTES), reading(2 * DAY_MINUTES, "D2"))
    days = [DAY + timedelta(days=number) for number in range(3)]
    range_run = defs().resolve_job_def("closed_day_job").execute_in_process(
        instance=kept_instance,
        tags={"dagster/asset_partition_range_start": f"{days[0]}", "dagster/asset_partition_range_end": f"{days[1]}"},
    )  # fmt: skip
    assert range_run.success
    for day in days[:2]:
        assert shown_checks(kept_instance, day) == catalogued(stores, day)
    store(stores, reading(1))  # late data for the first day
    defs().resolve_job_def("export_job").execute_in_process(
        instance=kept_instance, tags={JOB_ID_TAG: ask_for_export(stores).job_id}
    )  # fmt: skip
    pairs = [(day, device) for day, device in zip(days, ("D1", "D1", "D2"), strict=True)]
    backfilled(stores, pairs, kept_instance)
    for day in days:
        assert shown_checks(kept_instance, day) == catalogued(stores, day)


def test_the_open_days_runs_do_not_hide_the_results_of_closed_days(
    stores: Stores, kept_instance: dg.DagsterInstance
) -> None:
    """A lean run plans no checks. One that ends after midnight, or of a closed day, shows them all the same."""
    minute = (utc_now() - midnight(DAY)).total_seconds() // 60
    store(stores, reading(0), reading(minute))
    lean = defs().resolve_job_def("dataset_job")
    assert lean.execute_in_process(instance=kept_instance, partition_key=f"{DAY}").success
    assert shown_checks(kept_instance, DAY) == catalogued(stores, DAY)
    today = utc_now().date()
    assert lean.execute_in_process(instance=kept_instance, partition_key=f"{today}").success
    assert shown_checks(kept_instance, today) == set()
    assert shown_checks(kept_instance, DAY) == catalogued(stores, DAY)


def backfilled(stores: Stores, pairs: list[tuple[date, str]], instance: dg.DagsterInstance) -> None:
    backfill(
        stores, pairs, timedelta(days=30), instance, progress=lambda _: None, window_done=lambda *_: None
    )  # fmt: skip


def test_a_backfill_that_changes_nothing_leaves_no_events(stores: Stores, kept_instance: dg.DagsterInstance) -> None:
    store(stores, reading(0), reading(DAY_MINUTES))
    pairs = [(DAY, "D1"), (DAY + timedelta(days=1), "D1")]
    backfilled(stores, pairs, kept_instance)
    newest = newest_event(kept_instance)
    backfilled(stores, pairs, kept_instance)
    assert newest_event(kept_instance) == newest
    store(stores, reading(1))
    backfilled(stores, pairs, kept_instance)
    assert newest_event(kept_instance) > newest


def newest_event(instance: dg.DagsterInstance) -> int:
    newest = instance.event_log_storage.get_maximum_record_id()
    assert newest is not None
    return newest


def test_a_devices_history_is_reported_once_for_each_change(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0))
    for _ in range(2):
        export(instance, platform, "2026-02-12")
    assert observations(instance) == 1
    store(stores, reading(1))
    export(instance, platform, "2026-02-12")
    assert observations(instance) == 2
    store(stores, reading(DAY_MINUTES), reading(2 * DAY_MINUTES))  # of two days, in one backfill
    backfilled(stores, [(DAY + timedelta(days=number), "D1") for number in (1, 2)], instance)
    assert observations(instance) == 3


def test_a_devices_history_shows_what_it_stands_for(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0), reading(5), reading(DAY_MINUTES), reading(0, "D2"))
    for day in ("2026-02-12", "2026-02-13"):
        export(instance, platform, day)
    of_device = dg.AssetRecordsFilter(DEVICE_HISTORY, asset_partitions=["D1"])
    shown = metadata_of(instance, of_device)
    assert (shown["days"], shown["dagster/row_count"]) == (2, 3)
    assert shown["newest reading"] == midnight(DAY + timedelta(days=1)).timestamp()
    assert str(shown["machine"]).endswith("/machines/D1")
    assert str(shown["device"]).endswith("/api/v1/devices/D1")
    shown = metadata_of(instance, dg.AssetRecordsFilter(TELEMETRY))
    assert (shown["devices"], shown["days"], shown["dagster/row_count"]) == (2, 3, 4)


@pytest.mark.slow
def test_telemetry_is_reported_once_for_each_change_and_makes_nothing_stale(
    stores: Stores, platform: Platform, kept_instance: dg.DagsterInstance
) -> None:
    def events() -> int:
        return len(kept_instance.fetch_observations(TELEMETRY, limit=10).records)

    store(stores, reading(0))
    for _ in range(2):
        export(kept_instance, platform, "2026-02-12")
    assert events() == 1
    store(stores, reading(1))
    export(kept_instance, platform, "2026-02-12")
    assert events() == 2
    store(stores, reading((utc_now() - midnight(DAY)).total_seconds() // 60))
    export(kept_instance, platform, utc_now().date().isoformat())
    assert events() == 2  # the open day's runs wait for an hour
    store(stores, reading(2))
    backfilled(stores, [(DAY, "D1")], kept_instance)
    assert events() == 3
    resolver = CachingStaleStatusResolver(
        kept_instance, defs().resolve_asset_graph(), LoadingContextForTest(kept_instance)
    )
    assert resolver.get_status(TELEMETRY_DATASET, "2026-02-12") == StaleStatus.FRESH


def metadata_of(instance: dg.DagsterInstance, wanted: dg.AssetRecordsFilter) -> dict[str, Any]:
    observation = instance.fetch_observations(wanted, limit=1).records[0].asset_observation
    assert observation
    return {name: value.value for name, value in observation.metadata.items()}


def observations(instance: dg.DagsterInstance) -> int:
    of_device = dg.AssetRecordsFilter(DEVICE_HISTORY, asset_partitions=["D1"])
    return len(instance.fetch_observations(of_device, limit=10).records)


def ask_for_export(stores: Stores, **range_: Any) -> ExportJob:
    job = ExportJob(job_id=new_job_id(ExportJob), device_id="D1", **range_)
    stores.session.add(job)
    stores.session.commit()
    return job


def test_an_export_that_was_asked_for(stores: Stores, platform: Platform, instance: dg.DagsterInstance) -> None:
    store(stores, reading(0), reading(DAY_MINUTES))
    job = ask_for_export(stores)
    export_job = defs().resolve_job_def("export_job")
    assert export_job.execute_in_process(instance=instance, tags={JOB_ID_TAG: job.job_id}).success
    stores.session.refresh(job)
    assert (job.status, job.results and job.results["s3_key"]) == (
        "completed", "datasets/D1/20260213_20260213.parquet"
    )  # fmt: skip
    # A second run of the same job finds it done, and does nothing.
    completed_at = job.completed_at
    assert export_job.execute_in_process(instance=instance, tags={JOB_ID_TAG: job.job_id}).success
    stores.session.refresh(job)
    assert job.completed_at == completed_at


def test_an_export_of_a_range_is_one_file(stores: Stores, platform: Platform, instance: dg.DagsterInstance) -> None:
    store(stores, reading(0), reading(DAY_MINUTES), reading(2 * DAY_MINUTES))
    start = utc_now().replace(2026, 2, 12, 0, 0, 0, 0)
    job = ask_for_export(stores, date_range_start=start, date_range_end=start + timedelta(days=1))
    defs().resolve_job_def("export_job").execute_in_process(instance=instance, tags={JOB_ID_TAG: job.job_id})
    stores.session.refresh(job)
    assert job.results
    assert (job.results["s3_key"], job.results["record_count"]) == ("datasets/D1/20260212_20260213.parquet", 2)
    assert [t.day for t in dirty_days.waiting(stores.session)] == [date(2026, 2, 14)]


def test_an_export_without_readings_fails_with_the_reason(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    job = ask_for_export(stores)
    with pytest.raises(dg.Failure, match="no readings"):
        defs().resolve_job_def("export_job").execute_in_process(instance=instance, tags={JOB_ID_TAG: job.job_id})
    stores.session.refresh(job)
    assert job.status == "failed"
    assert job.error_message is not None
    assert "no readings" in job.error_message


def test_a_device_that_cannot_be_exported_does_not_hold_the_others(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stores, reading(0), reading(0, "D2"), reading(0, "D3"))

    def fails_for_d2(stores: Stores, device_id: str, day: date) -> Exported | None:
        if device_id == "D2":
            raise ValueError("cannot be read")
        return export_day(stores, device_id, day)

    monkeypatch.setattr(daily, "export_day", fails_for_d2)
    with pytest.raises(dg.Failure, match="1 of 3 files could not be exported: D2 on 2026-02-12: cannot be read"):
        export(instance, platform, "2026-02-12")
    assert {d.device_id for d in stores.session.exec(select(Dataset))} == {"D1", "D3"}


@pytest.mark.parametrize("with_checks", [True, False])
def test_a_day_that_fails_in_a_range_does_not_hide_the_others(
    stores: Stores, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, *, with_checks: bool
) -> None:
    store(stores, *(reading(number * DAY_MINUTES) for number in range(3)))
    days = [DAY + timedelta(days=number) for number in range(3)]

    def fails_on_the_second_day(stores: Stores, device_id: str, day: date) -> Exported | None:
        if day == days[1]:
            raise ValueError("cannot be read")
        return export_day(stores, device_id, day)

    monkeypatch.setattr(daily, "export_day", fails_on_the_second_day)
    job = defs().resolve_job_def("closed_day_job" if with_checks else "dataset_job")
    run = job.execute_in_process(
        instance=kept_instance, raise_on_error=False,
        tags={"dagster/asset_partition_range_start": f"{days[0]}", "dagster/asset_partition_range_end": f"{days[2]}"},
    )  # fmt: skip
    assert not run.success
    (failure,) = (event.step_failure_data.user_failure_data for event in run.all_events if event.is_step_failure)
    assert failure
    assert failure.description == (
        "1 day failed: 2026-02-13; the other days of 3 stand. 1 of 3 files could not be exported: D1 on 2026-02-13:"
        " cannot be read"
    )
    made = kept_instance.get_materialized_partitions(TELEMETRY_DATASET)
    assert made == {f"{days[0]}", f"{days[2]}"}
    for day in (days[0], days[2]):
        assert shown_checks(kept_instance, day) == catalogued(stores, day)


def test_a_database_that_fails_in_a_range_is_named_whatever_fails_after_it(
    stores: Stores, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stores, *(reading(number * DAY_MINUTES) for number in range(3)))
    days = [DAY + timedelta(days=number) for number in range(3)]
    asked_for = []

    def fails_from_the_second_day(stores: Stores, device_id: str, day: date) -> Exported | None:
        asked_for.append(day)
        if day > days[0]:
            raise OperationalError("SELECT 1", {}, Exception("the first error"))
        return export_day(stores, device_id, day)

    def fails_too(*_: object, **__: object) -> str:
        raise OperationalError("SELECT 2", {}, Exception("a later error"))

    monkeypatch.setattr(daily, "export_day", fails_from_the_second_day)
    monkeypatch.setattr(catalogue, "history_version", fails_too)
    run = defs().resolve_job_def("dataset_job").execute_in_process(
        instance=kept_instance, raise_on_error=False,
        tags={"dagster/asset_partition_range_start": f"{days[0]}", "dagster/asset_partition_range_end": f"{days[2]}"},
    )  # fmt: skip
    (failure,) = (event.step_failure_data for event in run.all_events if event.is_step_failure)
    assert failure.error is not None
    assert failure.error.cause is not None
    assert "the first error" in failure.error.cause.message
    assert asked_for == days[:2]
    assert kept_instance.get_materialized_partitions(TELEMETRY_DATASET) == {f"{days[0]}"}


def test_a_store_that_is_away_fails_the_run_and_leaves_the_marks(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stores, reading(0), reading(0, "D2"))
    with monkeypatch.context() as patch, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody answers
        patch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        patch.setenv("S3_BUCKET_NAME", "datasets")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with pytest.raises(ObjectStoreUnavailable):
            export(instance, platform, "2026-02-12")
    assert len(dirty_days.waiting(stores.session)) == 2
    failed = stores.session.exec(select(ExportCheckpoint)).one()
    assert (failed.status, failed.error_message is not None) == ("FAILED", True)
    assert export(instance, platform, "2026-02-12").success
    stores.session.expire_all()
    states = {c.status for c in stores.session.exec(select(ExportCheckpoint))}
    assert states == {"COMPLETED"}
    assert not dirty_days.waiting(stores.session)


@pytest.fixture
def small_disk(settings: Settings) -> Iterator[Path]:
    """The object store's folder on a disk of its own, of 300 kB."""
    folder = settings.energy_home / "objects"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_fails_the_run_and_leaves_the_old_file(
    small_disk: Path, stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0))
    assert export(instance, platform, "2026-02-12").success
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * 270_000)
    store(stores, *(reading(m, power=m**0.5, voltage=m**0.7) for m in range(1, DAY_MINUTES)))
    with pytest.raises(ObjectStoreUnavailable):
        export(instance, platform, "2026-02-12")
    (standing,) = stores.session.exec(select(Dataset)).all()
    assert read(stores.objects, [standing]).num_rows == 1
    assert [o.key for o in stores.objects.list("datasets")] == [standing.key]
    assert len(dirty_days.waiting(stores.session)) == 1
    filler.unlink()
    assert export(instance, platform, "2026-02-12").success
    stores.session.expire_all()
    (made,) = stores.session.exec(select(Dataset).where(Dataset.superseded_at == None)).all()  # noqa: E711
    assert made.rows == DAY_MINUTES
    assert not dirty_days.waiting(stores.session)
