"""Fleet reports as Dagster makes them: of the devices of the job's tenant, or of those that it names."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlmodel import Session, select

from assets.datasets import export_day
from orchestration.definitions import defs
from storage import dirty_days, jobs
from storage.devices import Device
from storage.job_runs import FLEET_REPORT_JOB, JOB_ID_TAG, dagster_job_of, partition_of
from storage.jobs import FLEET, ReportJob
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import microseconds

START = datetime(2026, 2, 12, tzinfo=UTC)
END = START + timedelta(days=1)


@pytest.fixture(autouse=True)
def _devices(session: Session, stores: Stores) -> None:
    for device_id, tenant_id, power, metadata in (
        ("D1", "acme", 1000.0, None),
        ("D2", "acme", 400.0, '{"parent_device": "D1"}'),
        ("D3", "acme", 250.0, None),
        ("E1", "other", 5000.0, None),
    ):
        session.add(
            Device(
                device_id=device_id,
                device_name=f"Machine {device_id}",
                device_type="machine",
                tenant_id=tenant_id,
                metadata_json=metadata,
            )
        )
        readings = [
            Reading(
                device_id=device_id, time=microseconds(START) + m * 60_000_000, metrics={"power": power}, received_at=0
            )
            for m in range(1441)
        ]
        stores.telemetry.write(readings)
        dirty_days.mark_dirty(session, ((device_id, reading.time) for reading in readings))
        session.commit()
        for day in (START, END):
            export_day(stores, device_id, day.date())
    session.commit()


def made(instance: dg.DagsterInstance, session: Session, stores: Stores, **changes: Any) -> ReportJob:
    job = ReportJob(
        **{
            "job_id": jobs.new_job_id(ReportJob), "tenant_id": "acme", "device_id": FLEET, "format": "json",
            "date_range_start": START, "date_range_end": END, **changes,
        }
    )  # fmt: skip
    session.add(job)
    session.commit()
    assert (dagster_job_of(job), partition_of(job)) == (FLEET_REPORT_JOB, None)
    fleet_job = defs().resolve_job_def(FLEET_REPORT_JOB)
    fleet_job.execute_in_process(instance=instance, tags={JOB_ID_TAG: job.job_id}, raise_on_error=False)
    session.refresh(job)
    return job


def content_of(stores: Stores, job: ReportJob) -> dict[str, Any]:
    assert job.status == "completed", job.error_message
    assert job.results is not None
    said: dict[str, Any] = json.loads(stores.objects.get(job.results["key"]))
    return said


def test_all_devices_of_the_tenant(instance: dg.DagsterInstance, session: Session, stores: Stores) -> None:
    job = made(instance, session, stores)
    said = content_of(stores, job)
    assert [(d["id"], d["counted"], d["counted_by"]) for d in said["devices"]] == [
        ("D1", True, None), ("D2", False, "D1"), ("D3", True, None),
    ]  # fmt: skip
    assert said["totals"]["energy_kwh"] == pytest.approx(30.0, rel=1e-3)
    assert job.results is not None
    assert job.results["key"] == f"reports/fleet/{job.job_id}/fleet_2026-02-12_2026-02-12.json"
    made_from = job.results["provenance"]
    assert made_from["energy_kwh"] == said["totals"]["energy_kwh"]
    assert [(d["device_id"], d["files"]) for d in made_from["devices"]] == [("D1", 1), ("D2", 1), ("D3", 1)]
    assert [d["sha256"] for d in made_from["devices"]] == [f["sha256"] for f in said["files"]]


def test_named_devices_and_those_that_are_gone(instance: dg.DagsterInstance, session: Session, stores: Stores) -> None:
    job = made(instance, session, stores, parameters={"device_ids": ["D2", "D3", "E1"]})
    said = content_of(stores, job)
    assert [d["id"] for d in said["devices"] if d["counted"]] == ["D2", "D3"], "the parent is not in this report"
    assert said["left_out"] == ["E1"], "it is another tenant's"


def test_a_key_of_all_tenants_sees_all(instance: dg.DagsterInstance, session: Session, stores: Stores) -> None:
    said = content_of(stores, made(instance, session, stores, tenant_id=None))
    assert [d["id"] for d in said["devices"]] == ["E1", "D1", "D2", "D3"]


def materialized(instance: dg.DagsterInstance, session: Session, config: dict[str, Any]) -> ReportJob:
    """The job of a report that was made in Dagster by hand."""
    defs().resolve_job_def(FLEET_REPORT_JOB).execute_in_process(
        instance=instance, run_config={"ops": {"fleet_report": {"config": config}}} if config else None,
        raise_on_error=False,
    )  # fmt: skip
    return session.exec(select(ReportJob)).one()


def test_materialized_by_hand_it_is_of_all_devices_up_to_the_newest_dataset(
    instance: dg.DagsterInstance, session: Session, stores: Stores
) -> None:
    job = materialized(instance, session, {})
    assert (job.device_id, job.format, job.status) == (FLEET, "pdf", "completed")
    assert (job.date_range_start, job.date_range_end) == (END - timedelta(days=29), END + timedelta(days=1))


def test_materialized_by_hand_it_takes_what_clients_send(
    instance: dg.DagsterInstance, session: Session, stores: Stores
) -> None:
    period = {"date_range_start": START.isoformat(), "date_range_end": END.isoformat()}
    names = {"device_ids": ["D3", "D2"], "tenant_id": "acme"}
    job = materialized(instance, session, {**period, **names, "format": "json", "language": "de"})
    said = content_of(stores, job)
    assert [device["id"] for device in said["devices"]] == ["D2", "D3"]
    assert (said["language"], job.tenant_id) == ("de", "acme")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"device_ids": ["E1", "nobody"]}, 'device_ids: there is no device "nobody".'),
        ({"device_ids": ["E1"], "tenant_id": "acme"}, 'device_ids: there is no device "E1" of tenant "acme".'),
        ({"tenant_id": "empty"}, "None of the devices has a dataset. Give date_range_start and date_range_end."),
        ({"language": "fr"}, 'language: "fr" is not known; choose en or de.'),
        ({"date_range_start": "today"}, "date_range_start: "),
    ],
)
def test_what_is_wrong_in_its_config_is_told_before_it_starts(
    config: dict[str, Any], message: str, instance: dg.DagsterInstance, session: Session
) -> None:
    fleet_job = defs().resolve_job_def(FLEET_REPORT_JOB)
    result = fleet_job.execute_in_process(
        instance=instance, run_config={"ops": {"fleet_report": {"config": config}}}, raise_on_error=False
    )
    (failure,) = (event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert failure.user_failure_data
    assert message in (failure.user_failure_data.description or "")
    assert session.exec(select(ReportJob)).all() == []


def test_without_devices_it_fails_with_the_reason(
    instance: dg.DagsterInstance, session: Session, stores: Stores
) -> None:
    job = made(instance, session, stores, tenant_id="empty")
    assert (job.status, job.error_message) == (
        "failed",
        "None of the devices is registered. Register devices, or name others.",
    )
