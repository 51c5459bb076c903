from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import text
from sqlmodel import col, select

from assets.datasets import export_day, retire_datasets, retire_telemetry
from assets.datasets.files import read
from orchestration import maintenance
from orchestration.datasets.daily import telemetry_dataset
from orchestration.definitions import defs
from orchestration.resources import Platform
from storage import catalogue
from storage.catalogue import Dataset
from storage.stores import Stores
from storage.times import utc_now
from tests.support.plant import DAY, DAY_MINUTES, reading, store

MARCH = date(2026, 3, 1)


def night(platform: Platform, instance: dg.DagsterInstance, day: date) -> list[str]:
    """The months that the schedule asks for on a night."""
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime(day.year, day.month, day.day, 3, 10, tzinfo=UTC),
        resources={"platform": platform},
    ) as context:  # fmt: skip
        answer = maintenance.close_months(context)
    return [str(r.partition_key) for r in answer] if isinstance(answer, list) else []


def test_a_month_becomes_one_file_and_is_made_again_after_late_data(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0), reading(DAY_MINUTES), reading(0, "D2"))
    for day, device_id in ((DAY, "D1"), (DAY + timedelta(days=1), "D1"), (DAY, "D2")):
        export_day(stores, device_id, day)
    assert night(platform, instance, DAY) == []
    assert night(platform, instance, MARCH) == ["2026-02-01"]
    job = defs().resolve_job_def("monthly_job")
    assert job.execute_in_process(partition_key="2026-02-01", instance=instance).success
    assert night(platform, instance, MARCH) == []
    months = stores.session.exec(select(Dataset).where(Dataset.kind == "month")).all()
    assert {(m.key, m.rows) for m in months} == {
        ("datasets/D1/20260201_20260228.parquet", 2), ("datasets/D2/20260201_20260228.parquet", 1)
    }  # fmt: skip
    store(stores, reading(5))
    export_day(stores, "D1", DAY)
    assert night(platform, instance, MARCH) == ["2026-02-01"]
    job.execute_in_process(partition_key="2026-02-01", instance=instance)
    assert night(platform, instance, MARCH) == []
    stores.session.rollback()
    (month,) = catalogue.datasets_of(stores.session, "D1", kind="month")
    assert read(stores.objects, [month]).num_rows == 3


def partitions(stores: Stores) -> list[str]:
    found = stores.session.execute(
        text(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'device_telemetry'::regclass ORDER BY 1"
        )
    )
    return [str(name)[-7:] for name in found.scalars()]


def test_telemetry_is_given_up_by_the_month_once_it_is_exported(stores: Stores) -> None:
    january, march = reading(-40 * DAY_MINUTES), reading(30 * DAY_MINUTES)
    store(stores, january, reading(0), march)
    for day in (DAY - timedelta(days=40), DAY + timedelta(days=30)):
        export_day(stores, "D1", day)
    assert retire_telemetry(stores, 10, date(2026, 4, 1)) == DAY  # which was not exported
    assert partitions(stores) == ["2026_02", "2026_03"]
    export_day(stores, "D1", DAY)
    assert retire_telemetry(stores, 10, date(2026, 4, 1)) == date(2026, 3, 22)
    assert partitions(stores) == ["2026_03"]
    # Late data of a month that is gone is taken, and joins what its file holds.
    store(stores, reading(1))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    assert read(stores.objects, [exported.dataset])["power"].to_pylist() == [100, 101]


def test_files_are_deleted_and_their_rows_stay(stores: Stores) -> None:
    store(stores, reading(0), reading(DAY_MINUTES))
    kept = [export_day(stores, "D1", DAY + timedelta(days=i)) for i in range(2)][1]
    assert kept is not None
    files, size = retire_datasets(stores, 10, DAY + timedelta(days=11))
    assert (files, size > 0) == (1, True)
    assert [o.key for o in stores.objects.list("datasets")] == [kept.dataset.key]
    rows = stores.session.exec(select(Dataset).order_by(col(Dataset.start_date))).all()
    assert [r.superseded_at is None for r in rows] == [False, True]
    assert retire_datasets(stores, 10, DAY + timedelta(days=11)) == (0, 0)


def test_old_runs_go_but_for_each_days_newest(
    stores: Stores, platform: Platform, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stores, reading(0), reading(DAY_MINUTES))
    closed_day = defs().resolve_job_def("closed_day_job")
    for day in ("2026-02-12", "2026-02-12", "2026-02-13"):
        assert closed_day.execute_in_process(partition_key=day, instance=kept_instance).success
    monkeypatch.setattr(maintenance, "RUNS_AT_A_TIME", 2)
    future = utc_now() + timedelta(days=1)
    checks = text("SELECT count(*) FROM dagster.asset_check_executions")
    before = stores.session.execute(checks).scalar_one()
    assert maintenance.delete_runs(kept_instance, stores.session, utc_now() - timedelta(days=1)) == 0
    assert maintenance.delete_runs(kept_instance, stores.session, future) == 1
    assert maintenance.delete_runs(kept_instance, stores.session, future) == 0
    assert len(kept_instance.get_runs()) == 2
    assert kept_instance.get_materialized_partitions(telemetry_dataset.key) == {"2026-02-12", "2026-02-13"}
    assert stores.session.execute(checks).scalar_one() == before * 2 // 3


def test_the_nightly_job_does_what_the_variables_say(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stores, reading(0))
    export_day(stores, "D1", DAY)
    job = defs().resolve_job_def("retention_job")
    assert job.execute_in_process(instance=instance).success
    assert list(stores.objects.list("datasets"))
    monkeypatch.setenv("DATASET_RETENTION_DAYS", "30")
    monkeypatch.setenv("TELEMETRY_RETENTION_DAYS", "30")
    assert job.execute_in_process(instance=instance).success
    assert not list(stores.objects.list("datasets"))
    assert partitions(stores) == []
