from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from sqlmodel import select

from assets.datasets import Exported, export_day, export_month
from assets.datasets.files import read
from orchestration.datasets import monthly
from orchestration.datasets.backfill import compact
from orchestration.definitions import defs
from orchestration.partitions import months
from orchestration.resources import Platform
from storage import catalogue
from storage.catalogue import Dataset
from storage.stores import Stores
from storage.times import midnight, utc_now
from tests.support.plant import DAY, DAY_MINUTES, reading, store

MARCH = date(2026, 3, 1)


def night(platform: Platform, instance: dg.DagsterInstance, day: date) -> list[str]:
    """The months that the schedule asks for on a night."""
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime(day.year, day.month, day.day, 3, 10, tzinfo=UTC),
        resources={"platform": platform},
    ) as context:  # fmt: skip
        requests = monthly.close_months(context)
    return [str(r.partition_key) for r in requests] if isinstance(requests, list) else []


def test_an_open_month_is_not_merged_in_dagster(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    today = utc_now().date()
    store(stores, reading((utc_now() - midnight(DAY)).total_seconds() // 60))
    export_day(stores, "D1", today)
    assert today.replace(day=1).isoformat() not in months.get_partition_keys()
    assert night(platform, instance, today) == []


def test_a_backfill_of_months_is_recorded_by_dagster(stores: Stores, instance: dg.DagsterInstance) -> None:
    store(stores, reading(0), reading(0, "D2"))
    pairs = [(DAY, "D1"), (DAY, "D2")]
    for _, device_id in pairs:
        export_day(stores, device_id, DAY)
    files, still_open = compact(stores, pairs, instance)
    assert ([file.changed for file in files], still_open) == ([True, True], [])
    made = instance.fetch_materializations(dg.AssetKey("telemetry_monthly"), limit=10).records
    assert [(record.partition_key, facts(record)["devices"]) for record in made] == [("2026-02-01", 2)]
    compact(stores, pairs, instance)  # nothing has changed
    assert len(instance.fetch_materializations(dg.AssetKey("telemetry_monthly"), limit=10).records) == 1


def facts(record: dg.EventLogRecord) -> dict[str, object]:
    assert record.asset_materialization
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


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


def test_a_month_that_fails_in_a_range_does_not_hide_the_others(
    stores: Stores, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    march = (MARCH - DAY).days
    store(stores, reading(0), reading(0, "D2"), reading(march * DAY_MINUTES))
    for day, device_id in ((DAY, "D1"), (DAY, "D2"), (MARCH, "D1")):
        export_day(stores, device_id, day)

    def fails_for_one_device(stores: Stores, device_id: str, year: int, month: int) -> Exported | None:
        if device_id == "D2":
            raise ValueError("cannot be read")
        return export_month(stores, device_id, year, month)

    monkeypatch.setattr(monthly, "export_month", fails_for_one_device)
    run = defs().resolve_job_def("monthly_job").execute_in_process(
        instance=instance, raise_on_error=False,
        tags={"dagster/asset_partition_range_start": "2026-02-01", "dagster/asset_partition_range_end": "2026-03-01"},
    )  # fmt: skip
    (failure,) = (event.step_failure_data.user_failure_data for event in run.all_events if event.is_step_failure)
    assert failure
    assert failure.description == (
        "1 month failed: 2026-02; the other months of 2 stand. 1 of 3 files could not be exported: D2 in 2026-02:"
        " cannot be read"
    )
    assert instance.get_materialized_partitions(dg.AssetKey("telemetry_monthly")) == {"2026-03-01"}
    stores.session.rollback()
    rows = stores.session.exec(select(Dataset).where(Dataset.kind == "month"))
    assert {(month.device_id, month.start_date) for month in rows} == {("D1", date(2026, 2, 1)), ("D1", MARCH)}
