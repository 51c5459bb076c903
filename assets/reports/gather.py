"""What a report is made from: the datasets of the period, its alerts, the newest results of the analyses asked for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlmodel import Session, col, select

from assets.datasets import Workshop, load
from assets.history import provenance
from assets.reports.content import ReportInput
from storage import catalogue
from storage.database import utc_now
from storage.devices import Device, DeviceMetadata
from storage.jobs import AnalyticsJob, ReportJob
from storage.rules import Alert
from storage.telemetry import TIME

MOST_ALERTS = 10_000


def gather(workshop: Workshop, job: ReportJob, code_version: str) -> ReportInput:
    """All that the report says, read once; a device that was deleted meanwhile keeps its id for a name."""
    session = workshop.session
    device = session.get(Device, job.device_id) or Device(
        device_id=job.device_id, device_name=job.device_id, device_type="unknown"
    )
    metadata = DeviceMetadata.parse(device.metadata_json)
    start, end = job.date_range_start, job.date_range_end
    last = (end - timedelta(microseconds=1)).astimezone(UTC).date()
    first = start.astimezone(UTC).date()
    chosen, table = load(
        workshop, lambda: catalogue.datasets_of(session, job.device_id, start=first, end=last, kind="day")
    )
    return ReportInput(
        report_id=job.job_id,
        device_id=job.device_id,
        device_name=device.device_name,
        device_type=device.device_type,
        location=device.location,
        zone=metadata.zone(workshop.zone),
        start=start.astimezone(UTC),
        end=end.astimezone(UTC),
        readings=_within(table, start, end),
        alerts=_alerts(session, job),
        analyses={kind: _analysis(session, job, kind) for kind in job.analysis_types},
        generated_at=utc_now(),
        datasets=provenance(chosen),
        bands=metadata.bands,
        counters=metadata.counters,
        cadence_seconds=metadata.cadence_seconds,
        code_version=code_version,
    )


def _within(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    if not len(table):
        return pa.table({"timestamp": pa.array([], TIME)})
    within = pc.and_(
        pc.greater_equal(table["timestamp"], pa.scalar(start, TIME)), pc.less(table["timestamp"], pa.scalar(end, TIME))
    )
    return table.filter(within)


def _alerts(session: Session, job: ReportJob) -> list[dict[str, Any]]:
    found = select(Alert).where(
        Alert.device_id == job.device_id,
        Alert.reading_time >= job.date_range_start,
        Alert.reading_time < job.date_range_end,
    )
    rows = session.exec(found.order_by(col(Alert.reading_time).desc()).limit(MOST_ALERTS))
    return [row.model_dump(mode="json") for row in rows]


def _analysis(session: Session, job: ReportJob, analysis_type: str) -> dict[str, Any]:
    """The newest completed analysis that looked at any part of the period."""
    found = session.exec(
        select(AnalyticsJob)
        .where(
            AnalyticsJob.device_id == job.device_id,
            AnalyticsJob.analysis_type == analysis_type,
            AnalyticsJob.status == "completed",
            AnalyticsJob.date_range_start < job.date_range_end,
            AnalyticsJob.date_range_end > job.date_range_start,
        )
        .order_by(col(AnalyticsJob.completed_at).desc())
    ).first()
    if found is None:
        return {"missing": f"no {analysis_type} analysis of this period was completed; POST /api/v1/analytics/run asks"}
    wanted = {"job_id", "model_name", "dataset_key", "results", "accuracy_metrics", "completed_at"}
    return found.model_dump(include=wanted)
