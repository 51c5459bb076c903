"""A tenant that has one of everything, and requests of another tenant that try everything."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, inspect, text
from sqlmodel import Session

from storage import dirty_days
from storage.alerts import Alert
from storage.anomaly_feedback import AnomalyFeedback
from storage.catalogue import Dataset
from storage.checkpoints import ExportCheckpoint
from storage.corrections import Correction
from storage.device_metrics import DeviceMetrics
from storage.devices import Device
from storage.failures import Failure
from storage.grants import TenantPrefix
from storage.jobs import AnalyticsJob, ExportJob, ReportJob
from storage.kept_models import KeptModel
from storage.last_seen import DeviceLastSeen
from storage.maintenance import MaintenanceWindow, SuppressedAlerts
from storage.notifications import Notification, NotificationAttempt
from storage.objects import open_object_store
from storage.pending import RulePending
from storage.quarantine import QuarantinedReading
from storage.report_schedules import ReportSchedule, ReportScheduleRun
from storage.rules import Rule
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.telemetry import Reading
from storage.times import microseconds, utc_now

SECRET = "alpha-secret"
NUMBER = 98765.4321
DAY = date(2026, 2, 12)
NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)
DATASET = "datasets/A1/20260212_20260212.parquet"
REPORT = "reports/A1/report-aaaaaaaaaaaa.json"
RULE = UUID("11111111-1111-1111-1111-111111111111")
WINDOW = UUID("33333333-3333-3333-3333-333333333333")
FAILURE = UUID("44444444-4444-4444-4444-444444444444")
ALERT = UUID("22222222-2222-2222-2222-222222222222")
SCHEDULE = UUID("44444444-4444-4444-4444-444444444444")
JOBS = ("job-aaaaaaaaaaaa", "export-aaaaaaaaaaaa", "report-aaaaaaaaaaaa")
# What a client of the other tenant would write, by the name of the parameter or of the body's field.
KNOWN: dict[str, Any] = {
    "device_id": "A1",
    "device_ids": ["A1"],
    "rule_id": str(RULE),
    "rule_ids": [str(RULE)],
    "window_id": str(WINDOW),
    "schedule_id": str(SCHEDULE),
    "failure_id": str(FAILURE),
    "alert_id": str(ALERT),
    "alert_ids": [str(ALERT)],
    "dataset_key": DATASET,
    "key": REPORT,
    "tenant_id": "alpha",
    "expires": 4_000_000_000,
    "signature": "0" * 64,
    "start_time": "2026-02-12T00:00:00Z",
    "end_time": "2026-02-13T00:00:00Z",
    "date_range_start": "2026-02-12T00:00:00Z",
    "date_range_end": "2026-02-13T00:00:00Z",
    "from": "2026-02-12T00:00:00Z",
    "to": "2026-02-13T00:00:00Z",
    "timestamp": "2026-02-12T12:00:00Z",
    "soft": False,
    "force": True,
    "devices": [{"device_id": "A1", "device_name": "taken", "device_type": "taken"}],
}


def add_tenant(settings: Settings, session: Session) -> None:
    """Add the tenant alpha, with one of everything; each row says `SECRET` or holds `NUMBER`."""
    session.add(Device(device_id="A1", tenant_id="alpha", device_name=SECRET, device_type="t", location=SECRET))
    session.add(Device(device_id="B1", tenant_id="beta", device_name="ours", device_type="t"))
    rule = Rule(
        rule_id=RULE, tenant_id="alpha", rule_name=SECRET, scope="all_devices", property="power", condition=">",
        threshold=NUMBER,
    )  # fmt: skip
    session.add(rule)
    session.commit()
    session.add(
        Alert(
            alert_id=ALERT, tenant_id="alpha", rule_id=RULE, device_id="A1", severity="high", message=SECRET,
            actual_value=NUMBER, threshold_value=NUMBER, reading_time=NOON, rule={"rule_name": SECRET},
        )
    )  # fmt: skip
    common: dict[str, Any] = {"tenant_id": "alpha", "device_id": "A1", "message": SECRET}
    dates: dict[str, Any] = {"date_range_start": NOON, "date_range_end": NOON}
    done: dict[str, Any] = {"status": "completed", "results": {"key": REPORT, "secret": SECRET}}
    analysis: dict[str, Any] = {"analysis_type": "anomaly", "model_name": "m", "accuracy_metrics": {}}
    session.add(AnalyticsJob(job_id=JOBS[0], **analysis, **common, **dates, **done))
    session.add(AnalyticsJob(job_id="job-bbbbbbbbbbbb", **analysis, **common, **dates))
    session.add(ExportJob(job_id=JOBS[1], **common))
    session.add(ReportJob(job_id=JOBS[2], format="json", **common, **dates, **done))
    session.add(
        Dataset(
            key=DATASET, kind="day", device_id="A1", tenant_id="alpha", start_date=DAY, end_date=DAY, rows=1, bytes=1,
            sha256=SECRET, metrics={},
        )
    )  # fmt: skip
    session.add(ExportCheckpoint(device_id="A1", last_exported_at=NOON, status="COMPLETED", s3_key=SECRET))
    session.add(
        MaintenanceWindow(
            window_id=WINDOW, tenant_id="alpha", device_id="A1", starts_at=NOON, ends_at=utc_now(), reason=SECRET
        )
    )
    seen: dict[str, Any] = {"rule_id": RULE, "device_id": "A1"}
    session.add(SuppressedAlerts(**seen, tenant_id="alpha", count=1, first_reading_time=NOON, last_reading_time=NOON))
    session.add(RulePending(**seen, rule_version=NOON))
    session.add(DeviceLastSeen(device_id="A1", last_seen_at=NOON, newest_reading=NOON))
    session.add(DeviceMetrics(device_id="A1", metrics=["power"]))
    correction = Correction(
        device_id="A1",
        metric="power",
        starts_at=NOON,
        ends_at=utc_now(),
        action="exclude",
        reason=SECRET,
        created_by="n",
    )
    session.add(correction)
    session.add(Failure(failure_id=FAILURE, device_id="A1", failed_at=NOON, description=SECRET, source="api"))
    said: dict[str, Any] = {"verdict": "fault", "note": SECRET, "given_by": "n", "starts_at": NOON, "ends_at": NOON}
    session.add(AnomalyFeedback(tenant_id="alpha", device_id="A1", job_id=JOBS[0], event=1, **said))
    model: dict[str, Any] = {"analysis_type": "anomaly", "model_name": "m", "parameters": {}, "parameters_hash": "p"}
    hashes: dict[str, Any] = dict.fromkeys(("dataset_hash", "sha256", "object_key", "code_version"), SECRET)
    fitted: dict[str, Any] = {"fitted_from": NOON, "fitted_until": NOON, "libraries": {}, "size_bytes": 1}
    session.add(KeptModel(tenant_id="alpha", device_id="A1", job_id=JOBS[0], **model, **hashes, **fitted))
    session.add(TenantPrefix(prefix="A1", tenant_id="alpha"))
    notification = Notification(alert_id=ALERT, tenant_id="alpha", device_id="A1", channel="webhook")
    session.add(notification)
    schedule = ReportSchedule(
        schedule_id=SCHEDULE, tenant_id="alpha", name=SECRET, device_id="A1", formats=["pdf"], compute_missing=False,
        frequency="daily", send_at="06:00", recipients=["email"], delivery="link", status="active", next_run_at=NOON,
    )  # fmt: skip
    session.add(schedule)
    session.flush()
    run = ReportScheduleRun(
        schedule_id=SCHEDULE, tenant_id="alpha", due_at=NOON, period_start=NOON, period_end=NOON, status="failed",
        job_ids=[JOBS[2]], error_message=SECRET,
    )  # fmt: skip
    session.add(run)
    session.add(QuarantinedReading(device_id="A1", topic=SECRET, payload=SECRET.encode(), reason=SECRET))
    session.commit()
    session.add(
        NotificationAttempt(
            notification_id=notification.notification_id, tenant_id="alpha", outcome="failed", detail=SECRET
        )
    )
    session.commit()
    store = open_telemetry_store(settings)
    for device_id, power in (("A1", NUMBER), ("B1", 1.0)):
        store.write([Reading(device_id=device_id, time=microseconds(NOON), metrics={"power": power}, received_at=0)])
    store.close()
    dirty_days.mark_dirty(session, [("A1", microseconds(NOON)), ("B1", microseconds(NOON))])
    session.commit()
    open_object_store(settings).put(REPORT, SECRET.encode())


def belongings(engine: Engine) -> dict[str, list[str]]:
    """Every row of every table that is alpha's."""
    found = {}
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            if table not in ("audit_log", "access_tokens", "api_keys", "alembic_version"):
                rows = connection.execute(text(f'SELECT t::text FROM "{table}" t')).scalars()
                found[table] = sorted(row for row in rows if "A1" in row or "alpha" in row)
    return found


def sample(schema: dict[str, Any], document: dict[str, Any], name: str = "") -> Any:  # noqa: PLR0911 - a case each
    """A value that fits the schema, with alpha's own identifiers where their names stand."""
    if name in KNOWN:
        return KNOWN[name]
    if "$ref" in schema:
        return sample(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document, name)
    for one_of in ("anyOf", "oneOf", "allOf"):
        if one_of in schema:
            return sample(schema[one_of][0], document, name)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("type") == "object":
        wanted = {*schema.get("required", ()), *(KNOWN.keys() & schema.get("properties", {}).keys())}
        return {key: sample(schema["properties"][key], document, key) for key in wanted}
    if schema.get("type") == "array":
        return [sample(schema.get("items", {}), document)] * max(1, schema.get("minItems", 1))
    return {"integer": 1, "number": 1.0, "boolean": True}.get(str(schema.get("type")), "x")


def attempts(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, arguments) of each operation, with and without what is optional."""
    for template, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = operation.get("parameters", [])
            for job_id in JOBS if "{job_id}" in template else JOBS[:1]:
                path = template
                for p in (p for p in parameters if p["in"] == "path"):
                    value = job_id if p["name"] == "job_id" else sample(p["schema"], document, p["name"])
                    path = path.replace(f"{{{p['name']}}}", str(value))
                queried = [p for p in parameters if p["in"] == "query"]
                body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
                json = {"json": sample(body, document)} if body else {}
                for chosen in ([p for p in queried if p.get("required")], [p for p in queried if p["name"] in KNOWN]):
                    yield method, path, {"params": {p["name"]: KNOWN[p["name"]] for p in chosen}, **json}


def leaks(content: bytes) -> bool:
    """Whether the tenant's text or number is in an answer; not as digits of another number, such as a metric's."""
    return SECRET.encode() in content or re.search(rb"(?<![\d.])98765(?!\d)", content) is not None
