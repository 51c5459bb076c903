"""Fleet reports as Dagster makes them: of the devices of the job's tenant, or of those that it names."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlmodel import Session

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


def test_without_devices_it_fails_with_the_reason(
    instance: dg.DagsterInstance, session: Session, stores: Stores
) -> None:
    job = made(instance, session, stores, tenant_id="empty")
    assert (job.status, job.error_message) == (
        "failed",
        "None of the devices is registered. Register devices, or name others.",
    )
