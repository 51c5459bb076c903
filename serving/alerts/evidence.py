"""The evidence of an alert in one answer: its reading, the reading's file, the rule, the jobs and the notifications."""

from datetime import UTC
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel
from sqlmodel import Session

from assets.datasets import TelemetryReader
from serving.alerts.routes import existing_alert, list_notifications
from serving.alerts.schemas import AlertPublic, NotificationPublic
from serving.analytics.schemas import DatasetPublic
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import NotificationOutbox, Readings
from serving.http.errors import NotFound, problems
from serving.http.fields import Moment
from serving.rules.schemas import RulePublic
from storage import catalogue, jobs
from storage.alerts import Alert
from storage.catalogue import Dataset
from storage.rules import NO_DATA, Rule
from storage.times import microseconds

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

MAX_JOBS = 100


class EvidenceReading(BaseModel):
    """The stored reading that met the condition, with all its metrics; `missing` says why it is not there."""

    timestamp: Moment
    metrics: dict[str, float] | None
    missing: str | None


class EvidenceDataset(DatasetPublic):
    """The file that holds the reading's day, and the run in Dagster that made it."""

    run_id: str | None


class EvidenceJob(BaseModel):
    """A job that used or made the file. `kind` is `analysis`, `report` or `export`."""

    job_id: str
    kind: Literal["analysis", "report", "export"]
    status: str
    run_id: str | None
    created_at: Moment


class Evidence(BaseModel):
    """What an alert rests on.

    `alert.rule` is the rule as it was when it fired; `rule_now` as it is now, null if it is deleted or not the
    tenant's own, and `rule_changed` whether it was changed since. `dataset` is null until the day is exported. `jobs`
    has analyses and reports that were made from exactly this file, newest first, and the export that made it.
    """

    alert: AlertPublic
    reading: EvidenceReading
    dataset: EvidenceDataset | None
    rule_now: RulePublic | None
    rule_changed: bool | None
    jobs: list[EvidenceJob]
    notifications: list[NotificationPublic]


class EvidenceAnswer(BaseModel):
    success: Literal[True] = True
    data: Evidence


@router.get("/{alert_id}/evidence", responses=problems(NotFound))
def get_evidence(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    reader: Readings,
    alert_id: UUID,
) -> EvidenceAnswer:
    """What an alert rests on: the reading, its file with the hash, the rule, runs and jobs, notifications."""
    alert = existing_alert(session, alert_id)
    dataset = _dataset(session, alert)
    rule = session.get(Rule, alert.rule_id)
    rule_now = RulePublic.model_validate(rule, from_attributes=True) if rule and not rule.deleted_at else None
    return EvidenceAnswer(
        data=Evidence(
            alert=AlertPublic.seen_by(principal.tenant_id, alert),
            reading=_reading(reader, alert),
            dataset=EvidenceDataset(**DatasetPublic.of(dataset).model_dump(), run_id=dataset.run_id)
            if dataset
            else None,
            rule_now=rule_now,
            rule_changed=_is_changed(alert, rule_now),
            jobs=_jobs(session, dataset) if dataset else [],
            notifications=list_notifications(session, principal, outbox, alert_id).data,
        )
    )


def _reading(reader: TelemetryReader, alert: Alert) -> EvidenceReading:
    time, missing = microseconds(alert.reading_time), None
    rows: list[dict[str, Any]] = []
    if alert.rule.get("condition") == NO_DATA:
        missing = "The rule watches whether the device sends, so no reading raised the alert."
    else:
        try:
            rows = reader.read(alert.device_id, time, time + 1).drop_columns("time").to_pylist()
        except NotFound:
            missing = "The device belongs to somebody else now, so its readings are not shown."
    if not rows:
        missing = missing or "No reading of this time is stored. It was deleted, or it was only evaluated."
        return EvidenceReading(timestamp=alert.reading_time, metrics=None, missing=missing)
    metrics = {name: value for name, value in rows[-1].items() if value is not None}
    return EvidenceReading(timestamp=alert.reading_time, metrics=metrics, missing=None)


def _dataset(session: Session, alert: Alert) -> Dataset | None:
    day = alert.reading_time.astimezone(UTC).date()
    files = catalogue.datasets_of(session, alert.device_id, start=day, end=day, kind="day")
    return files[-1] if files else None


def _is_changed(alert: Alert, rule: RulePublic | None) -> bool | None:
    """Whether the rule was changed since the alert; None if one of the two versions is not known."""
    then = alert.rule.get("updated_at")
    return None if rule is None or then is None else then != RulePublic.model_dump(rule, mode="json")["updated_at"]


def _jobs(session: Session, dataset: Dataset) -> list[EvidenceJob]:
    found = jobs.made_from(session, dataset.sha256, limit=MAX_JOBS)
    if dataset.run_id and (export := jobs.export_of_run(session, dataset.run_id)):
        found.append(export)
    return [EvidenceJob.model_validate(job, from_attributes=True) for job in found]
