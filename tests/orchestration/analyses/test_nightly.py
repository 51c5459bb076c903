from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from sqlmodel import Session, select

from assets.datasets.export import export_day
from orchestration.analyses import nightly
from orchestration.definitions import defs
from orchestration.resources import Platform
from orchestration.shards import split
from storage import jobs
from storage.devices import Device
from storage.failures import Failure
from storage.fleet import longest_waiting
from storage.job_runs import JOB_ID_TAG
from storage.jobs import AnalyticsJob
from storage.kept_models import kept_models
from storage.stores import Stores
from storage.times import midnight
from tests.support.plant import DAY, DAY_MINUTES, reading, store

NIGHT = datetime(2026, 2, 17, 3, 30, tzinfo=UTC)

NIGHTLY = ("anomaly", "forecast")


@pytest.fixture
def fleet(stores: Stores) -> Stores:
    """D1 with five closed days, D2 with a reading only, D3 with nothing, and one that is not active."""
    for name, status in (("D1", "active"), ("D2", "active"), ("D3", "active"), ("D4", "inactive")):
        stores.session.add(Device(device_id=name, device_name="Pump", device_type="pump", status=status))
    store(stores, *(reading(m, power=100 + m % DAY_MINUTES) for m in range(0, 5 * DAY_MINUTES, 10)), reading(0, "D2"))
    for days in range(5):
        export_day(stores, "D1", DAY + timedelta(days=days))
    export_day(stores, "D2", DAY)
    return stores


def asked_for(platform: Platform, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=NIGHT, resources={"platform": platform}
    ) as context:
        answer = nightly.analyse_fleet(context)
    assert isinstance(answer, list)
    return answer


def night(instance: dg.DagsterInstance, request: dg.RunRequest) -> dict[str, Any]:
    job = defs().resolve_job_def("nightly_job")
    result = job.execute_in_process(run_config=request.run_config, instance=instance, tags=request.tags)
    (metadata,) = (e.step_output_data.metadata for e in result.all_events if e.is_successful_output)
    reasons = metadata["skipped analyses"]
    assert isinstance(reasons, dg.TableMetadataValue)
    return {name: metadata[name].value for name in nightly.OUTCOMES} | {"reasons": [r.data for r in reasons.records]}


def test_a_night_leaves_rows_and_results_and_is_not_repeated(
    fleet: Stores, platform: Platform, kept_instance: dg.DagsterInstance
) -> None:
    (request,) = asked_for(platform, kept_instance)
    outcome = night(kept_instance, request)
    rows = fleet.session.exec(select(AnalyticsJob)).all()
    assert {(r.device_id, r.analysis_type, r.status) for r in rows} == {
        ("D1", kind, "completed") for kind in ("anomaly", "forecast")
    }
    assert [(skipped["device"], skipped["analysis"]) for skipped in outcome.pop("reasons")] == [
        ("D2", "anomaly"),
        ("D2", "forecast"),
    ]
    counts = {"completed": 2, "skipped": 2, "failed": 0, "cancelled": 0, "no datasets": 2}
    assert outcome == counts
    for key in ("anomaly_result", "forecast"):
        assert kept_instance.get_materialized_partitions(dg.AssetKey(key)) == {"D1"}
    again = night(kept_instance, request)
    assert again == {**counts, "completed": 0, "reasons": again["reasons"]}
    assert len(fleet.session.exec(select(AnalyticsJob)).all()) == len(rows)


def test_a_night_that_ends_early_names_the_devices_left_and_the_next_begins_with_them(
    fleet: Stores, platform: Platform, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (request,) = asked_for(platform, kept_instance)
    assert request.run_config["ops"]["analyse_shard"]["config"]["budget_minutes"] == 240
    now = iter([0.0, 60.0, *[1000.0] * 99])
    monkeypatch.setattr(nightly, "time", SimpleNamespace(monotonic=lambda: next(now)))
    config = {**request.run_config["ops"]["analyse_shard"]["config"], "budget_minutes": 5.0}
    job = defs().resolve_job_def("nightly_job")
    result = job.execute_in_process(
        run_config={"ops": {"analyse_shard": {"config": config}}}, instance=kept_instance, tags=request.tags
    )
    (metadata,) = (e.step_output_data.metadata for e in result.all_events if e.is_successful_output)
    assert (metadata["completed"].value, metadata["devices left"].value) == (2, 2)
    assert metadata["left for the next night"].value == "D2, D3"
    assert longest_waiting(fleet.session, ["D1", "D2", "D3"], NIGHT, NIGHTLY) == ["D2", "D3", "D1"]


def test_failures_are_predicted_where_they_are_recorded_and_a_fleet_shares_its_model(
    fleet: Stores, platform: Platform, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1 has failed three times, D2 of its type never; D4 is not active, and D9 is of another type."""
    monkeypatch.setattr(nightly, "OF_EVERY_DEVICE", ())
    session = fleet.session
    session.add(Device(device_id="D9", device_name="Fan", device_type="fan", status="active"))
    begin = midnight(DAY)
    session.add_all(
        Failure(device_id="D1", failed_at=begin + timedelta(hours=hours), source="api") for hours in (12, 18, 26)
    )
    session.commit()
    for name in ("D2", "D9"):
        store(fleet, *(reading(m, name, power=90 + m % DAY_MINUTES) for m in range(0, 5 * DAY_MINUTES, 10)))
        for days in range(5):
            export_day(fleet, name, DAY + timedelta(days=days))
    (request,) = asked_for(platform, kept_instance)
    config = request.run_config
    for _ in range(2):  # the second time there is nothing left to do
        assert defs().resolve_job_def("nightly_job").execute_in_process(run_config=config, instance=kept_instance)
        rows = session.exec(select(AnalyticsJob).order_by(AnalyticsJob.device_id)).all()
        assert [(row.device_id, row.analysis_type, row.status) for row in rows] == [
            ("D1", "prediction", "completed"),
            ("D2", "prediction", "completed"),
        ]
    (model,) = kept_models(session)
    assert (model.device_id, model.is_fleet) == ("D1", True)
    assert [row.results["provenance"]["model"]["is_new"] for row in rows if row.results] == [True, False]
    own, other = (row.results["fleet"] for row in rows if row.results)
    assert own == {"used": True, "devices": [{"device_id": "D2", "failures": 0}], "own_failures": 3}
    assert other == {"used": True, "devices": [{"device_id": "D1", "failures": 3}], "own_failures": 0}
    assert all(row.ranking is not None and row.data_until for row in rows)


def test_those_whose_newest_analysis_is_the_oldest_come_first(fleet: Stores) -> None:
    for device_id, days in (("D1", 1), ("D2", 3), ("D3", 2), ("D3", 40)):
        end = NIGHT - timedelta(days=days)
        job = AnalyticsJob(
            job_id=jobs.new_job_id(AnalyticsJob), device_id=device_id, analysis_type="anomaly", model_name="m",
            status="completed", date_range_start=end, date_range_end=end,
        )  # fmt: skip
        fleet.session.add(job)
    fleet.session.commit()
    assert longest_waiting(fleet.session, ["D1", "D2", "D3", "D9"], NIGHT, NIGHTLY) == ["D9", "D2", "D3", "D1"]


def test_each_device_is_fitted_again_once_a_week_and_the_fleet_is_spread_over_the_nights() -> None:
    nights = [DAY + timedelta(days=day) for day in range(7)]
    by_night = [sum(nightly.is_refit_night(f"D{i}", night) for i in range(700)) for night in nights]
    assert sum(by_night) == 700
    assert min(by_night) > 60


def test_a_large_fleet_is_split(
    fleet: Stores, platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLIT_RUNS_ABOVE_DEVICES", "2")
    assert [r.tags["energy/shard"] for r in asked_for(platform, instance)] == ["1 of 2", "2 of 2"]
    shards = [nightly.active_devices(fleet.session, shard) for shard in split(3, 2)]
    assert sorted(device for shard in shards for device in shard) == ["D1", "D2", "D3"]


def test_an_analysis_that_is_cancelled_at_its_end_has_no_result(
    fleet: Stores, platform: Platform, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_instance.add_dynamic_partitions("devices", ["D1"])
    complete = jobs.complete

    def too_late(session: Session, job: jobs.Job, message: str, **results: object) -> None:
        jobs.cancel(session, job)
        session.commit()
        complete(session, job, message, **results)

    monkeypatch.setattr(jobs, "complete", too_late)
    job = AnalyticsJob(
        job_id=jobs.new_job_id(AnalyticsJob), device_id="D1", analysis_type="anomaly", model_name="isolation_forest",
        date_range_start=midnight(DAY),
        date_range_end=midnight(DAY + timedelta(days=3)),
    )  # fmt: skip
    fleet.session.add(job)
    fleet.session.commit()
    run = defs().resolve_job_def("anomaly_job").execute_in_process(
        partition_key="D1", instance=kept_instance, tags={JOB_ID_TAG: job.job_id}
    )  # fmt: skip
    assert run.success
    fleet.session.refresh(job)
    assert (job.status, job.results, job.progress != 100) == ("cancelled", None, True)
    assert kept_instance.get_materialized_partitions(dg.AssetKey("anomaly_result")) == set()


def test_a_refused_analysis_says_why(
    fleet: Stores, platform: Platform, kept_instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    kept_instance.add_dynamic_partitions("devices", ["D2"])
    store(fleet, *(reading(m, "D2", power=100.0) for m in range(1, 200)))
    export_day(fleet, "D2", DAY)
    run = defs().resolve_job_def("anomaly_job").execute_in_process(
        partition_key="D2", instance=kept_instance, raise_on_error=False
    )  # fmt: skip
    (row,) = fleet.session.exec(select(AnalyticsJob)).all()
    assert (run.success, row.status) == (False, "failed")
    (event,) = (e for e in run.all_events if e.is_step_failure)
    told = event.step_failure_data.user_failure_data
    assert told
    assert told.description == row.error_message
    assert {name: value.value for name, value in told.metadata.items()} == {
        "job": row.job_id, "device": "D2", "error": "CannotAnalyse",
    }  # fmt: skip
    assert event.step_failure_data.error
    assert event.step_failure_data.error.cause is None
    printed = [line for line in capfd.readouterr().err.splitlines() if " - anomaly_job - " in line]
    assert printed
    assert all("_FAILURE - " in line for line in printed)  # what did not fail is not printed
