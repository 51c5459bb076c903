"""Analyses that the data team launches in Dagster, with a range, a model and parameters."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlmodel import Session, select

from assets.analyses import ANALYSES, AnalysisType
from assets.datasets.export import export_day
from orchestration.analyses.results import ANALYSIS_ASSETS
from orchestration.analyses.run_config import config_of
from orchestration.definitions import defs
from orchestration.partitions import RANGE_TAGS
from storage import catalogue
from storage.devices import Device
from storage.failures import Failure
from storage.job_runs import JOB_ID_TAG, dagster_job_name
from storage.jobs import AnalyticsJob, new_job_id
from storage.stores import Stores
from storage.times import midnight
from tests.support.plant import DAY, DAY_MINUTES, reading, store

DAYS = 5


@pytest.fixture
def plant(stores: Stores, instance: dg.DagsterInstance) -> Stores:
    """D1 of a tenant, with five closed days."""
    instance.add_dynamic_partitions("devices", ["D1", "D2"])
    stores.session.add(Device(device_id="D1", device_name="Pump", device_type="pump", tenant_id="acme"))
    store(stores, *(reading(m, power=100 + m % DAY_MINUTES) for m in range(0, DAYS * DAY_MINUTES, 10)))
    for days in range(DAYS):
        export_day(stores, "D1", DAY + timedelta(days=days))
    return stores


def launch(
    instance: dg.DagsterInstance, analysis_type: str, device_id: str = "D1", job_id: str | None = None, **config: Any
) -> dg.ExecuteInProcessResult:
    """A run as the launchpad starts it; with a job's id, as the API does."""
    name = ANALYSIS_ASSETS[analysis_type].key.to_user_string()
    return (
        defs()
        .resolve_job_def(dagster_job_name(analysis_type))
        .execute_in_process(
            partition_key=device_id, instance=instance, raise_on_error=False,
            run_config={"ops": {name: {"config": config}}}, tags={JOB_ID_TAG: job_id} if job_id else {},
        )
    )  # fmt: skip


def jobs_of(session: Session) -> list[AnalyticsJob]:
    session.expire_all()
    return list(session.exec(select(AnalyticsJob)))


def reason(run: dg.ExecuteInProcessResult) -> str:
    (failure,) = (event.step_failure_data for event in run.all_events if event.is_step_failure)
    assert failure.user_failure_data
    return failure.user_failure_data.description or ""


@pytest.mark.slow
def test_a_range_a_model_and_parameters_are_used(plant: Stores, instance: dg.DagsterInstance) -> None:
    days = {"start_date": f"{DAY + timedelta(days=1)}", "end_date": f"{DAY + timedelta(days=4)}"}
    run = launch(instance, "forecast", **days, model_name="arima", parameters={"metric": "power", "horizon_hours": 3})
    assert run.success
    (job,) = jobs_of(plant.session)
    assert (job.status, job.run_id, job.tenant_id, job.model_name) == ("completed", run.run_id, "acme", "arima")
    assert (job.date_range_start, job.date_range_end) == (
        midnight(DAY + timedelta(days=1)), midnight(DAY + timedelta(days=5)),
    )  # fmt: skip
    assert job.results is not None
    assert len(job.results["forecast"]) == 3
    assert job.parameters == {"metric": "power", "horizon_hours": 3, "seed": 1, "with_errors": False, "refit": False}
    assert len(job.results["provenance"]["datasets"]) == 4
    (event,) = run.asset_materializations_for_node("forecast")
    assert event.metadata["job"].value == job.job_id
    assert str(event.metadata["result"].value).endswith(f"/api/v1/analytics/results/{job.job_id}")


def test_all_days_and_the_defaults_are_used_without_a_configuration(
    plant: Stores, instance: dg.DagsterInstance
) -> None:
    run = launch(instance, "anomaly")
    assert run.success
    (job,) = jobs_of(plant.session)
    assert (job.status, job.model_name) == ("completed", ANALYSES["anomaly"].default)
    assert (job.date_range_start, job.date_range_end) == (midnight(DAY), midnight(DAY + timedelta(days=DAYS)))
    assert job.parameters == ANALYSES["anomaly"].parameters().model_dump(mode="json")
    (event,) = run.asset_materializations_for_node("anomaly_result")
    shown = {name: str(value.value) for name, value in event.metadata.items()}
    assert shown["period"] == f"{DAY} to {DAY + timedelta(days=DAYS - 1)}"
    files = catalogue.datasets_of(plant.session, "D1")
    assert shown["sha256"] == hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    assert all(f"dataset_key={file.key})" in shown["files"] and file.sha256 in shown["files"] for file in files)
    assert shown["machine"].endswith("/machines/D1")
    assert shown["device"].endswith("/api/v1/devices/D1")


def test_a_failure_prediction_gets_its_failures(plant: Stores, instance: dg.DagsterInstance) -> None:
    """It cannot be made of five days, but it is no longer without failures."""
    failures = [datetime(2026, 2, 13 + number, 12, tzinfo=UTC).isoformat() for number in range(3)]
    launch(instance, "prediction", parameters={"failures": failures, "horizon_hours": 6})
    (job,) = jobs_of(plant.session)
    assert job.parameters is not None
    assert job.parameters["failures"] == [moment.replace("+00:00", "Z") for moment in failures]
    assert job.parameters["horizon_hours"] == 6


def test_a_failure_prediction_learns_from_recorded_failures(plant: Stores, instance: dg.DagsterInstance) -> None:
    for number in range(3):
        plant.session.add(
            Failure(device_id="D1", failed_at=datetime(2026, 2, 13 + number, 12, tzinfo=UTC), source="status")
        )
    plant.session.commit()
    run = launch(instance, "prediction", model_name="gradient_boosting", parameters={"horizon_hours": 6})
    assert run.success
    (job,) = jobs_of(plant.session)
    assert job.results is not None
    assert job.results["labels"] == {"source": "failures", "column": None, "failures": 3}
    assert 0 <= job.results["failure_probability"] <= 1
    assert job.accuracy_metrics is not None
    assert job.accuracy_metrics["reason"].startswith("too few to judge")


def test_one_dataset_is_analysed_by_its_key(plant: Stores, instance: dg.DagsterInstance) -> None:
    day = f"{DAY:%Y%m%d}"
    launch(instance, "anomaly", dataset_key=f"datasets/D1/{day}_{day}.parquet")
    (job,) = jobs_of(plant.session)
    assert job.dataset_key == f"datasets/D1/{day}_{day}.parquet"
    assert (job.date_range_start, job.date_range_end) == (midnight(DAY), midnight(DAY + timedelta(days=1)))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"start_date": "12.2.2026"}, 'start_date: "12.2.2026" is not a day; write it as 2026-02-12.'),
        ({"start_date": "2026-02-14", "end_date": "2026-02-13"}, "start_date 2026-02-14 is after end_date 2026-02-13"),
        ({"start_date": "2026-02-12", "dataset_key": "any"}, "Give dataset_key, or start_date and end_date"),
        ({"start_date": "2020-01-01", "end_date": "2020-01-02"}, "D1 has no dataset from 2020-01-01 to 2020-01-02"),
        ({"parameters": {"horizon_hours": 0}}, "parameters: horizon_hours: 0 is out of range; give 1 or more"),
        ({"parameters": {"horizon_hours": 700}}, "horizon_hours above 168 is for energy only"),
        (
            {"parameters": {"horizon_hours": 140}},
            "horizon_hours 140 reaches further ahead than the analysed range",
        ),
        ({"parameters": {"metric": "flow"}}, "The datasets have no readings of flow. Metrics with readings: power"),
    ],
)
def test_a_wrong_configuration_is_refused_without_a_job(
    config: dict[str, Any], expected: str, plant: Stores, instance: dg.DagsterInstance
) -> None:
    assert expected in reason(launch(instance, "forecast", **config))
    assert jobs_of(plant.session) == []


@pytest.mark.parametrize("analysis_type", ["anomaly", "prediction", "forecast"])
def test_each_parameter_is_described_in_the_launchpad(analysis_type: AnalysisType) -> None:
    config = config_of(analysis_type)
    for fields in (config.model_fields, config.model_fields["parameters"].annotation.model_fields):  # type: ignore[union-attr] # a class
        said = [field.description for field in fields.values()]
        assert all(said)
        assert len(set(said)) == len(said)


def test_a_device_without_datasets_is_told_so(plant: Stores, instance: dg.DagsterInstance) -> None:
    assert "There is no device D2" in reason(launch(instance, "anomaly", "D2"))
    plant.session.add(Device(device_id="D2", device_name="Pump", device_type="pump"))
    plant.session.commit()
    assert "D2 has no dataset" in reason(launch(instance, "anomaly", "D2"))
    assert jobs_of(plant.session) == []


@pytest.mark.parametrize(
    "config", [{"foo": 1}, {"parameters": {"foo": 1}}, {"model_name": "magic"}, {"parameters": {"seed": "one"}}]
)
def test_dagster_refuses_what_it_does_not_know(
    config: dict[str, Any], plant: Stores, instance: dg.DagsterInstance
) -> None:
    for analysis_type in ANALYSES:
        with pytest.raises(dg.DagsterInvalidConfigError):
            launch(instance, analysis_type, **config)


def test_the_job_of_a_client_is_run_as_it_was_asked_for(plant: Stores, instance: dg.DagsterInstance) -> None:
    job = AnalyticsJob(
        job_id=new_job_id(AnalyticsJob), device_id="D1", analysis_type="anomaly", model_name="isolation_forest",
        date_range_start=midnight(DAY), date_range_end=midnight(DAY + timedelta(days=4)), parameters={"seed": 7},
    )  # fmt: skip
    plant.session.add(job)
    plant.session.commit()
    assert launch(instance, "anomaly", job_id=job.job_id).success
    (row,) = jobs_of(plant.session)
    assert row.results is not None
    assert (row.status, row.results["provenance"]["parameters"]["seed"]) == ("completed", 7)


def test_the_launchpad_has_every_parameter_with_its_default() -> None:
    for analysis_type, analysis in ANALYSES.items():
        config = config_of(analysis_type)().model_dump()  # type: ignore[arg-type] # the keys are analysis types
        assert config["model_name"] == analysis.default
        assert analysis.parameters.model_validate(config["parameters"]) == analysis.parameters()


@pytest.mark.parametrize("job", ["forecast_job", "report_job"])
@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({}, "The run has no partition. Choose a device."),
        ({"dagster/partition": "NOPE"}, "There is no device NOPE"),
        (dict.fromkeys(RANGE_TAGS, "D1"), "A run is for one device. Choose one, or launch a backfill"),
    ],
)
def test_a_run_of_no_device_of_an_unknown_one_or_of_several_says_so(
    plant: Stores, instance: dg.DagsterInstance, job: str, tags: dict[str, str], words: str
) -> None:
    """A program can launch such runs, though the pages of Dagster do not."""
    run = defs().resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    assert reason(run).startswith(words)
    assert jobs_of(plant.session) == []
