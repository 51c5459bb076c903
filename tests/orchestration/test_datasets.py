from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlmodel import select

from assets.datasets import Workshop
from orchestration import datasets
from orchestration.datasets import ExportConfig, telemetry_dataset
from orchestration.definitions import defs
from orchestration.resources import Platform
from storage import catalogue
from storage.catalogue import Dataset
from storage.database import utc_now
from storage.devices import Device
from storage.jobs import ID_TAG, ExportJob, new_job_id
from tests.plant import DAY, DAY_MINUTES, reading, store


def export(instance: dg.DagsterInstance, platform: Platform, day: str, **config: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [telemetry_dataset], partition_key=day, instance=instance, resources={"platform": platform},
        run_config=dg.RunConfig(ops={"telemetry_dataset": ExportConfig(**config)}),
    )  # fmt: skip


def test_a_day_becomes_files_with_facts_in_dagster(
    workshop: Workshop, platform: Platform, kept_instance: dg.DagsterInstance
) -> None:
    store(workshop, reading(0), reading(1), reading(0, "D2"), reading(DAY_MINUTES, "D2"))
    assert export(kept_instance, platform, "2026-02-12").success
    event = kept_instance.get_latest_materialization_event(datasets.TELEMETRY_DATASET)
    assert event
    assert event.asset_materialization
    facts = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert event.asset_materialization.partition == "2026-02-12"
    assert (facts["dagster/partition_row_count"], facts["devices"], facts["files written"]) == (3, 2, 2)
    assert "data:image/png;base64" in str(facts["the day"])
    assert [t.day for t in catalogue.touched(workshop.session)] == [DAY + timedelta(days=1)]


def test_late_data_makes_the_devices_results_stale(
    workshop: Workshop, platform: Platform, instance: dg.DagsterInstance
) -> None:
    store(workshop, reading(0), reading(0, "D2"))
    export(instance, platform, "2026-02-12")
    versions = [data_version(instance, device) for device in ("D1", "D2")]
    store(workshop, reading(1))
    export(instance, platform, "2026-02-12", only_touched=True)
    assert data_version(instance, "D1") != versions[0]
    assert data_version(instance, "D2") == versions[1]


def data_version(instance: dg.DagsterInstance, device_id: str) -> str:
    records = instance.fetch_observations(
        dg.AssetRecordsFilter(datasets.DEVICE_HISTORY, asset_partitions=[device_id]), limit=1
    ).records
    assert records[0].asset_observation
    return records[0].asset_observation.tags["dagster/data_version"]


def test_a_range_of_days_is_one_run(workshop: Workshop, platform: Platform, instance: dg.DagsterInstance) -> None:
    store(workshop, reading(0), reading(2 * DAY_MINUTES))
    result = dg.materialize(
        [telemetry_dataset], instance=instance, resources={"platform": platform},
        tags={"dagster/asset_partition_range_start": "2026-02-12", "dagster/asset_partition_range_end": "2026-02-14"},
    )  # fmt: skip
    assert result.success
    assert {d.start_date.day for d in workshop.session.exec(select(Dataset))} == {12, 14}


def tick(instance: dg.DagsterInstance, platform: Platform, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"platform": platform})
    answer = datasets.export_touched_days(context)
    return answer if isinstance(answer, dg.SensorResult) else dg.SensorResult()


def test_the_sensor_asks_for_touched_days_and_the_run_does_them(
    workshop: Workshop, platform: Platform, instance: dg.DagsterInstance
) -> None:
    assert not tick(instance, platform).run_requests
    today = utc_now().date()
    minutes = (today - DAY).days * DAY_MINUTES
    store(workshop, reading(minutes), reading(0, "D2"))
    (request,) = tick(instance, platform).run_requests or []
    assert request.partition_key == today.isoformat()  # the late day waits until it is quiet
    job = defs().resolve_job_def("dataset_job")
    run = job.execute_in_process(
        partition_key=request.partition_key, run_config=request.run_config, instance=instance
    )  # fmt: skip
    assert run.success
    assert not tick(instance, platform).run_requests
    assert [t.day for t in catalogue.touched(workshop.session)] == [DAY]


def ask_for_export(workshop: Workshop, **range_: Any) -> ExportJob:
    job = ExportJob(job_id=new_job_id(ExportJob), device_id="D1", **range_)
    workshop.session.add(job)
    workshop.session.commit()
    return job


def test_an_export_that_was_asked_for(workshop: Workshop, platform: Platform, instance: dg.DagsterInstance) -> None:
    store(workshop, reading(0), reading(DAY_MINUTES))
    job = ask_for_export(workshop)
    export_job = defs().resolve_job_def("export_job")
    assert export_job.execute_in_process(instance=instance, tags={ID_TAG: job.job_id}).success
    workshop.session.refresh(job)
    assert (job.status, job.results and job.results["s3_key"]) == (
        "completed", "datasets/D1/20260213_20260213.parquet"
    )  # fmt: skip
    # A second run of the same job finds it done, and does nothing.
    completed_at = job.completed_at
    assert export_job.execute_in_process(instance=instance, tags={ID_TAG: job.job_id}).success
    workshop.session.refresh(job)
    assert job.completed_at == completed_at


def test_an_export_of_a_range_is_one_file(workshop: Workshop, platform: Platform, instance: dg.DagsterInstance) -> None:
    store(workshop, reading(0), reading(DAY_MINUTES), reading(2 * DAY_MINUTES))
    start = utc_now().replace(2026, 2, 12, 0, 0, 0, 0)
    job = ask_for_export(workshop, date_range_start=start, date_range_end=start + timedelta(days=1))
    defs().resolve_job_def("export_job").execute_in_process(instance=instance, tags={ID_TAG: job.job_id})
    workshop.session.refresh(job)
    assert job.results
    assert (job.results["s3_key"], job.results["record_count"]) == ("datasets/D1/20260212_20260213.parquet", 2)
    assert [t.day for t in catalogue.touched(workshop.session)] == [date(2026, 2, 14)]


def test_an_export_without_readings_fails_with_the_reason(
    workshop: Workshop, platform: Platform, instance: dg.DagsterInstance
) -> None:
    job = ask_for_export(workshop)
    with pytest.raises(dg.Failure, match="no readings"):
        defs().resolve_job_def("export_job").execute_in_process(instance=instance, tags={ID_TAG: job.job_id})
    workshop.session.refresh(job)
    assert job.status == "failed"
    assert job.error_message is not None
    assert "no readings" in job.error_message


def test_the_registry_is_followed(workshop: Workshop, platform: Platform, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("devices", ["gone", "D1"])
    workshop.session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
    workshop.session.add(Device(device_id="D2", device_name="Pump", device_type="pump"))
    workshop.session.commit()
    context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
    answer = datasets.follow_registry(context)
    assert isinstance(answer, dg.SensorResult)
    requests = [(type(r).__name__, list(r.partition_keys)) for r in answer.dynamic_partitions_requests or ()]
    assert requests == [("AddDynamicPartitionsRequest", ["D2"]), ("DeleteDynamicPartitionsRequest", ["gone"])]
