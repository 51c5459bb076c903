"""Reports as Dagster makes them: the job's row, the run of its partition, the file."""

import hashlib
import io
import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pypdf
import pytest
from sqlmodel import Session, select

from assets.datasets.export import export_day
from assets.datasets.files import dataset_key
from assets.reports import FORMATS, sources
from orchestration.claimed_job import ClaimedJob
from orchestration.definitions import defs
from storage import catalogue, dirty_days, jobs
from storage.alerts import Alert
from storage.devices import Device
from storage.job_runs import JOB_ID_TAG
from storage.jobs import AnalyticsJob, ReportJob
from storage.objects import ObjectStore, open_object_store
from storage.rules import Rule
from storage.settings import Settings
from storage.stores import Stores, open_telemetry_store
from storage.telemetry import Reading
from storage.times import microseconds

DAY = date(2026, 2, 12)
START = datetime(2026, 2, 12, tzinfo=UTC)
END = START + timedelta(days=1)


@pytest.fixture
def instance(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    instance.add_dynamic_partitions("devices", ["D1"])
    return instance


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    return open_object_store(settings)


@pytest.fixture
def device(settings: Settings, session: Session, objects: ObjectStore) -> Device:
    """D1 with a day of readings in a dataset, an alert, and two analyses."""
    device = Device(
        device_id="D1",
        tenant_id="acme",
        device_name="Pump 1",
        device_type="pump",
        location="Hall 1",
        metadata_json='{"timezone": "Europe/Paris", "cadence_seconds": 60, "bands": {"voltage": [220, 240]}}',
    )
    session.add(device)
    raised(session, START + timedelta(hours=5), "Device D1: voltage is low, in")
    raised(session, END, "Device D1: voltage is low, after")
    write(settings, session, objects, range(1440))
    return device


def raised(session: Session, time: datetime, message: str) -> None:
    rule = Rule(rule_name="Sag", scope="all_devices", property="voltage", condition="<", threshold=220.0)
    session.add(rule)
    session.flush()
    session.add(
        Alert(
            rule_id=rule.rule_id, device_id="D1", tenant_id="acme", severity="high", message=message, actual_value=210,
            threshold_value=220, reading_time=time, rule={"rule_name": "Sag"},
        )
    )  # fmt: skip
    session.commit()


def write(
    settings: Settings,
    session: Session,
    objects: ObjectStore,
    minutes: range,
    *,
    export: bool = True,
    varying: float = 0.0,
) -> None:
    telemetry = open_telemetry_store(settings)
    readings = []
    for minute in minutes:
        time = microseconds(START) + minute * 60_000_000
        metrics = {"voltage": 230.0, "current": 5.0, "power": 1000.0 + varying * math.sin(minute / 100)}
        readings.append(
            Reading(
                device_id="D1", time=time, metrics=metrics, received_at=time, device_type="pump", location="Hall 1",
                enrichment_status="success",
            )
        )  # fmt: skip
    telemetry.write(readings)
    days = sorted({(START + timedelta(minutes=minute)).date() for minute in minutes})
    dirty_days.mark_dirty(session, (("D1", reading.time) for reading in readings))
    session.commit()
    if export:
        for day in days:
            export_day(Stores(session, telemetry, objects, settings.zone), "D1", day)
    telemetry.close()


def analysed(session: Session, analysis_type: str, completed_at: datetime, **job: Any) -> None:
    session.add(
        AnalyticsJob(
            **{
                "job_id": jobs.new_job_id(AnalyticsJob), "device_id": "D1", "analysis_type": analysis_type,
                "model_name": f"{analysis_type} model", "status": "completed", "completed_at": completed_at,
                "date_range_start": START, "date_range_end": END, "accuracy_metrics": {}, **job,
            }
        )
    )  # fmt: skip
    session.commit()


def asked(session: Session, **job: Any) -> ReportJob:
    row = ReportJob(
        **{
            "job_id": jobs.new_job_id(ReportJob), "tenant_id": "acme", "device_id": "D1", "format": "json",
            "date_range_start": START, "date_range_end": END, **job,
        }
    )  # fmt: skip
    session.add(row)
    session.commit()
    return row


def run(
    instance: dg.DagsterInstance, job: ReportJob, session: Session, *, ends: bool = True
) -> dg.ExecuteInProcessResult:
    report_job = defs().resolve_job_def("report_job")
    result = report_job.execute_in_process(
        partition_key="D1", instance=instance, tags={JOB_ID_TAG: job.job_id}, raise_on_error=False
    )
    assert result.success is ends
    session.refresh(job)
    return result


def json_of(objects: ObjectStore, job: ReportJob) -> dict[str, Any]:
    assert job.results is not None
    said: dict[str, Any] = json.loads(objects.get(job.results["key"]))
    return said


MEDIA_TYPES = {
    "pdf": ("pdf", "application/pdf"),
    "json": ("json", "application/json"),
    "html": ("html", "text/html"),
    "excel": ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
}


@pytest.mark.parametrize("format_", FORMATS)
def test_a_report_in_each_format(
    format_: str, kept_instance: dg.DagsterInstance, session: Session, objects: ObjectStore, device: Device
) -> None:
    kept_instance.add_dynamic_partitions("devices", ["D1"])
    job = asked(session, format=format_)
    result = run(kept_instance, job, session)
    assert (job.status, job.progress, job.error_message, job.run_id) == ("completed", 100, None, result.run_id)
    suffix, media_type = MEDIA_TYPES[format_]
    key = f"reports/D1/{job.job_id}/D1_2026-02-12_2026-02-13.{suffix}"
    content = objects.get(key)
    sha256 = hashlib.sha256(content).hexdigest()
    assert job.results is not None
    provenance = job.results.pop("provenance")
    assert job.results == {"key": key, "media_type": media_type, "size_bytes": len(content), "sha256": sha256}
    (dataset,) = catalogue.datasets_of(session, "D1", kind="day")
    assert provenance["datasets"] == [{"key": dataset.key, "sha256": dataset.sha256, "rows": 1440}]
    assert catalogue.is_used(session, dataset)
    if format_ == "pdf":
        text = " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
        for words in ("Pump 1 (D1)", "12 Feb 2026, 01:00", job.job_id, "voltage is low, in"):
            assert words in text
    event = kept_instance.get_latest_materialization_event(dg.AssetKey("device_report"))
    assert event is not None
    assert event.dagster_event is not None
    assert event.dagster_event.partition == "D1"
    facts = event.dagster_event.step_materialization_data.materialization.metadata
    assert (facts["job"].value, facts["size_bytes"].value) == (job.job_id, len(content))
    assert facts["dagster/uri"].value == f"{objects.address}/{key}"


def test_what_a_report_is_made_from(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, settings: Settings, device: Device
) -> None:
    event = {"start": "2026-02-12T10:00:00+00:00", "end": "2026-02-12T11:00:00+00:00", "metric": "power", "score": 5.0}
    analysed(session, "anomaly", END, results={"events": []}, model_name="older")
    analysed(session, "anomaly", END + timedelta(hours=1), results={"events": [event]}, model_name="newer")
    analysed(session, "anomaly", END + timedelta(hours=2), results={}, model_name="failed one", status="failed")
    analysed(session, "forecast", END, results={}, date_range_start=END, date_range_end=END + timedelta(days=1))
    job = asked(session, analysis_types=["anomaly", "forecast"], date_range_start=START + timedelta(hours=1))
    run(instance, job, session)
    said = json_of(objects, job)
    of_metadata = {"maker": None, "max_power_w": None}
    assert said["device"] == {"id": "D1", "name": "Pump 1", "type": "pump", "location": "Hall 1", **of_metadata}
    assert said["period"] == {"start": "2026-02-12T01:00:00Z", "end": "2026-02-13T00:00:00Z", "tz": "Europe/Paris"}
    assert said["data_quality"]["readings"] == 23 * 60
    assert said["data_quality"]["waiting_days"] == []
    assert [day["hours"] for day in said["daily"]] == [22, 1]
    anomaly, forecast = said["analyses"]
    assert (anomaly["model"], len(said["anomalies"])) == ("newer", 1)
    assert forecast["status"] == "missing"
    assert forecast["reason"] == "none has been made of any part of the period"
    assert [alert["message"] for alert in said["alerts"]] == ["Device D1: voltage is low, in"]
    (dataset,) = catalogue.datasets_of(session, "D1", kind="day")
    assert said["files"] == [{"name": dataset.key, "sha256": dataset.sha256, "rows": 1440}]
    assert next(m["band"] for m in said["metrics"] if m["metric"] == "voltage") == [220, 240]


def test_readings_that_no_file_has_yet_are_mentioned(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, settings: Settings, device: Device
) -> None:
    write(settings, session, objects, range(1440, 1500), export=False)
    job = asked(session, date_range_end=END + timedelta(days=1))
    run(instance, job, session)
    assert json_of(objects, job)["data_quality"]["waiting_days"] == ["2026-02-13"]


def test_a_period_without_readings_is_a_report_too(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, settings: Settings
) -> None:
    job = asked(session, device_id="D1")
    run(instance, job, session)
    said = json_of(objects, job)
    assert (said["device"]["name"], said["data_quality"]["readings"], said["files"]) == ("D1", 0, [])


def test_a_report_that_cannot_be_made_fails_with_the_reason(
    instance: dg.DagsterInstance,
    session: Session,
    objects: ObjectStore,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAX_REPORT_SIZE_MB", "0.001")
    job = asked(session)
    run(instance, job, session, ends=False)
    assert job.status == "failed"
    assert job.error_message is not None
    assert "the limit is 0.001 MB. Request a shorter period" in job.error_message
    assert (job.results, list(objects.list("reports"))) == (None, [])


def test_a_file_that_is_spoiled_fails_the_job_with_the_reason(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, device: Device
) -> None:
    (dataset,) = catalogue.datasets_of(session, "D1", kind="day")
    objects.put(dataset.object_key, b"no Parquet")
    job = asked(session)
    run(instance, job, session, ends=False)
    assert job.status == "failed"
    assert job.error_message == f"{dataset.object_key} is being replaced. Try again in a minute."


@pytest.fixture(params=["Reading", "Report is ready"])
def cancelled_midway(request: pytest.FixtureRequest, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job is cancelled, as another process would, when it is that far."""
    report_progress = ClaimedJob.report_progress

    def then_cancelled(claimed: ClaimedJob[ReportJob], percent: float, message: str) -> None:
        report_progress(claimed, percent, message)
        if message == request.param:
            jobs.cancel(session, session.exec(select(ReportJob).where(ReportJob.job_id == claimed.job.job_id)).one())
            session.commit()

    monkeypatch.setattr(ClaimedJob, "report_progress", then_cancelled)


@pytest.mark.usefixtures("cancelled_midway")
def test_a_cancelled_report_leaves_no_file(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, device: Device
) -> None:
    job = asked(session)
    run(instance, job, session)
    assert (job.status, job.results) == ("cancelled", None)
    assert list(objects.list("reports")) == []
    assert instance.get_latest_materialization_event(dg.AssetKey("device_report")) is None


def test_a_job_runs_once(instance: dg.DagsterInstance, session: Session, objects: ObjectStore, device: Device) -> None:
    job = asked(session)
    first = run(instance, job, session)
    finished = job.completed_at
    run(instance, job, session)
    assert (job.run_id, job.completed_at) == (first.run_id, finished)


def in_dagster(instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    """A run that was launched in Dagster, without a job."""
    return (
        defs()
        .resolve_job_def("report_job")
        .execute_in_process(
            partition_key="D1", instance=instance, raise_on_error=False,
            run_config={"ops": {"device_report": {"config": config}}},
        )
    )  # fmt: skip


def test_a_report_that_was_launched_in_dagster_has_a_job_of_its_own(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, device: Device
) -> None:
    config = {"format": "json", "date_range_start": "2026-02-12T02:00:00+01:00", "analysis_types": ["anomaly"]}
    assert in_dagster(instance, **config).success
    (job,) = session.exec(select(ReportJob)).all()
    assert (job.status, job.tenant_id, job.analysis_types) == ("completed", "acme", ["anomaly"])
    assert (job.date_range_start, job.date_range_end) == (START + timedelta(hours=1), END)
    assert json_of(objects, job)["period"]["start"] == "2026-02-12T01:00:00Z"


def test_a_report_without_a_period_is_about_the_newest_thirty_days(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, device: Device
) -> None:
    assert in_dagster(instance, format="json").success
    (job,) = session.exec(select(ReportJob)).all()
    assert (job.date_range_start, job.date_range_end) == (END - timedelta(days=30), END)
    assert job.analysis_types == ["anomaly", "forecast"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"date_range_start": "yesterday"},
            'date_range_start: "yesterday" is not a timestamp; write it as',
        ),
        ({"date_range_end": "2026-02-12T00:00:00"}, "has no offset; write it as"),
        ({"date_range_start": "2026-03-01T00:00:00Z"}, "date_range_start is not before date_range_end"),
        ({"date_range_start": "2020-01-01T00:00:00Z"}, "the range is longer than 366 days, the limit of a report"),
        ({"analysis_types": ["magic"]}, 'analysis_types: "magic" is not known; choose anomaly or prediction'),
    ],
)
def test_a_wrong_configuration_is_refused_without_a_job(
    config: dict[str, Any], reason: str, instance: dg.DagsterInstance, session: Session, device: Device
) -> None:
    (failure,) = (e.step_failure_data for e in in_dagster(instance, **config).all_events if e.is_step_failure)
    assert failure.user_failure_data
    assert reason in (failure.user_failure_data.description or "")
    assert session.exec(select(ReportJob)).all() == []


def test_a_device_without_data_needs_a_period(
    instance: dg.DagsterInstance, session: Session, settings: Settings
) -> None:
    (failure,) = (e.step_failure_data for e in in_dagster(instance).all_events if e.is_step_failure)
    assert failure.user_failure_data
    assert failure.user_failure_data.description == "There is no device D1."
    session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
    session.commit()
    (failure,) = (e.step_failure_data for e in in_dagster(instance).all_events if e.is_step_failure)
    assert failure.user_failure_data
    assert "D1 has no dataset" in (failure.user_failure_data.description or "")
    assert in_dagster(
        instance, format="json", date_range_start="2026-02-12T00:00:00Z", date_range_end="2026-02-13T00:00:00Z"
    ).success  # fmt: skip


def test_dagster_refuses_what_it_does_not_know(instance: dg.DagsterInstance, settings: Settings) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="foo"):
        in_dagster(instance, foo=1)
    with pytest.raises(dg.DagsterInvalidConfigError, match="docx"):
        in_dagster(instance, format="docx")


def test_alerts_beyond_the_most_are_counted(
    instance: dg.DagsterInstance,
    session: Session,
    objects: ObjectStore,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "MAX_ALERTS", 1)
    raised(session, START + timedelta(hours=6), "newest")
    job = asked(session)
    run(instance, job, session)
    said = json_of(objects, job)
    assert (said["alerts_total"], [alert["message"] for alert in said["alerts"]]) == (2, ["newest"])


def test_analyses_that_are_missing_are_made_first_when_asked(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, settings: Settings, device: Device
) -> None:
    for day in range(1, 5):
        write(settings, session, objects, range(-1440 * day, -1440 * (day - 1)), varying=300)
    analysed(session, "forecast", END, results={})
    types = ["anomaly", "forecast", "prediction"]
    job = asked(session, analysis_types=types, parameters={"compute_missing": True})
    run(instance, job, session)
    assert job.status == "completed"
    said = {analysis["type"]: analysis for analysis in json_of(objects, job)["analyses"]}
    made = session.exec(select(AnalyticsJob).where(AnalyticsJob.analysis_type == "anomaly")).one()
    assert (said["anomaly"]["status"], said["anomaly"]["job_id"]) == ("completed", made.job_id), said["anomaly"]
    assert made.date_range_start < START, "a short period is analysed with the days before it"
    assert said["forecast"]["model"] == "forecast model", "what is there is not made again"
    assert said["prediction"]["status"] == "missing"
    failed = session.exec(select(AnalyticsJob).where(AnalyticsJob.analysis_type == "prediction")).one()
    assert (failed.status, said["prediction"]["detail"]) == ("failed", failed.error_message)
    assert said["prediction"]["reason"] == "there are too few recorded failures, or readings, to learn from"
    event = instance.get_latest_materialization_event(dg.AssetKey("anomaly_result"))
    assert event is not None
    assert event.dagster_event is not None
    assert event.dagster_event.partition == "D1"


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("start", [END - timedelta(hours=12), START])
def test_analyses_that_are_outdated_or_cover_less_are_made_again(
    instance: dg.DagsterInstance,
    session: Session,
    objects: ObjectStore,
    settings: Settings,
    start: datetime,
) -> None:
    for day in range(1, 5):
        write(settings, session, objects, range(-1440 * day, -1440 * (day - 1)), varying=300)
    as_it_was = {"key": dataset_key("D1", START.date(), START.date()), "sha256": "of an older file"}
    provenance = {"datasets": [as_it_was]} if start == START else {}
    analysed(session, "anomaly", END, results={"provenance": provenance}, date_range_start=start)
    report = asked(session, analysis_types=["anomaly"], parameters={"compute_missing": True})
    run(instance, report, session)
    (said,) = json_of(objects, report)["analyses"]
    assert (said["model"], said["changed_days"]) == ("isolation_forest", 0)


@pytest.mark.usefixtures("device")
def test_an_outdated_analysis_that_could_not_be_made_again_says_why(
    instance: dg.DagsterInstance, session: Session, objects: ObjectStore, settings: Settings
) -> None:
    write(settings, session, objects, range(-1440, 0), varying=300)
    as_it_was = {"key": dataset_key("D1", START.date(), START.date()), "sha256": "of an older file"}
    analysed(session, "prediction", END, results={"provenance": {"datasets": [as_it_was]}})
    report = asked(session, analysis_types=["prediction"], parameters={"compute_missing": True})
    run(instance, report, session)
    (said,) = json_of(objects, report)["analyses"]
    assert (said["status"], said["changed_days"], said["model"]) == ("completed", 1, "prediction model")
    assert said["reason"] == "there are too few recorded failures, or readings, to learn from"
    failed = session.exec(select(AnalyticsJob).where(AnalyticsJob.status == "failed")).one()
    assert said["detail"] == failed.error_message
