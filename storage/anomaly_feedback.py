"""Feedback about anomalies: people say of an event, or of a period without one, whether it was a fault.

Nothing here commits; the request does.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, UniqueConstraint
from sqlmodel import Field, Session, SQLModel, Text, col, select
from sqlmodel.sql.expression import SelectOfScalar

from storage.database import Timestamp
from storage.jobs import AnalyticsJob
from storage.times import utc_now

Verdict = Literal["fault", "none"]
MAX_LABELS = 500  # of one device that an analysis learns from, the newest


class AnomalyFeedback(SQLModel, table=True):
    """What somebody said about a period of a device; both ends are included.

    `job_id` and `event` are those of the event; a fault that no event reported has neither. `kind`, `model_name` and
    `exceeds` are copies of the event's, since the feedback outlives the job.
    """

    __tablename__ = "anomaly_feedback"
    __table_args__ = (
        CheckConstraint("verdict IN ('fault', 'none')", name="anomaly_feedback_verdict"),
        UniqueConstraint("job_id", "event", name="anomaly_feedback_one_per_event"),
        Index("anomaly_feedback_of", "device_id", "starts_at"),
    )

    feedback_id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], primary_key=True)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    device_id: str = Field(max_length=50)
    job_id: str | None = Field(default=None, max_length=100)
    event: int | None = None
    starts_at: datetime = Timestamp()
    ends_at: datetime = Timestamp()
    kind: str | None = Field(default=None, max_length=20)
    model_name: str | None = Field(default=None, max_length=100)
    exceeds: float | None = None
    verdict: str = Field(max_length=10)
    note: str | None = Field(default=None, sa_type=Text)
    given_by: str = Field(max_length=100)
    given_at: datetime = Timestamp(default_factory=utc_now)


def of_devices(device_id: str | None = None) -> SelectOfScalar[AnomalyFeedback]:
    """Select the feedback about a device, or about all."""
    rows = select(AnomalyFeedback)
    return rows if device_id is None else rows.where(AnomalyFeedback.device_id == device_id)


def newest_labels(session: Session, device_id: str) -> list[AnomalyFeedback]:
    """The newest feedback about a device."""
    newest = of_devices(device_id).order_by(col(AnomalyFeedback.given_at).desc(), col(AnomalyFeedback.feedback_id))
    return list(session.exec(newest.limit(MAX_LABELS)))


def of_event(session: Session, job: AnalyticsJob, event: int) -> AnomalyFeedback | None:
    """The feedback about one event of a job; until the transaction ends, others wait to give theirs."""
    locked = select(AnalyticsJob.id).where(AnalyticsJob.job_id == job.job_id)
    session.exec(locked.with_for_update()).first()
    found = select(AnomalyFeedback).where(AnomalyFeedback.job_id == job.job_id, AnomalyFeedback.event == event)
    return session.exec(found).first()


def with_feedback(session: Session, job: AnalyticsJob) -> dict[str, Any]:
    """The job's results, each event with its number, from 1, and what was said of it.

    That is the feedback about the event itself, or else about one of another job in the same period.
    """
    results = job.results or {}
    events: Sequence[dict[str, Any]] = results.get("events", [])
    if not events:
        return results
    first = datetime.fromisoformat(min(event["start"] for event in events))
    last = datetime.fromisoformat(max(event["end"] for event in events))
    within = of_devices(job.device_id).where(AnomalyFeedback.starts_at <= last, AnomalyFeedback.ends_at >= first)
    given = list(session.exec(within.order_by(col(AnomalyFeedback.given_at).desc())))
    numbered = [
        {**event, "number": number, "feedback": _about(job, number, event, given)}
        for number, event in enumerate(events, 1)
    ]
    return {**results, "events": numbered}


def _about(
    job: AnalyticsJob, number: int, event: dict[str, Any], given: Iterable[AnomalyFeedback]
) -> dict[str, Any] | None:
    start, end = datetime.fromisoformat(event["start"]), datetime.fromisoformat(event["end"])
    overlapping = [row for row in given if row.starts_at <= end and row.ends_at >= start]
    own = [row for row in overlapping if (row.job_id, row.event) == (job.job_id, number)]
    # An event may cover several: it was a fault if one of them was.
    for row in (*own, *(row for row in overlapping if row.verdict == "fault"), *overlapping):
        return row.model_dump(mode="json", include={"verdict", "note", "given_by", "given_at", "feedback_id"})
    return None
