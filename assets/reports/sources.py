"""What a report is made from: the datasets of the period, its alerts, the newest results of the analyses asked for."""

from datetime import UTC, timedelta
from typing import Any

import pyarrow as pa
from sqlmodel import Session, col, func, select

from assets.datasets import provenance, read_days
from assets.reports.inputs import ReportInput
from storage import dirty_days
from storage.alerts import Alert
from storage.devices import Device, DeviceMetadata
from storage.jobs import AnalyticsJob, ReportJob
from storage.stores import Stores
from storage.telemetry import TIME
from storage.times import utc_now

MAX_ALERTS = 10_000


def gather(stores: Stores, job: ReportJob, code_version: str) -> ReportInput:
    """All that the report says, read once; a device that was deleted meanwhile keeps its id for a name."""
    session = stores.session
    device = session.get(Device, job.device_id) or Device(
        device_id=job.device_id, device_name=job.device_id, device_type="unknown"
    )
    metadata = DeviceMetadata.parse(device.metadata_json)
    start, end = job.date_range_start, job.date_range_end
    alerts, alerts_total = _alerts(session, job)
    first, last = start.astimezone(UTC).date(), (end - timedelta(microseconds=1)).astimezone(UTC).date()
    # Asked before the files are read: what is exported in between is then mentioned in vain, and not the reverse.
    waiting = [row.day for row in dirty_days.waiting(session, device_id=job.device_id) if first <= row.day <= last]
    chosen, table = read_days(stores, job.device_id, first, last)
    return ReportInput(
        report_id=job.job_id,
        device_id=job.device_id,
        device_name=device.device_name,
        device_type=device.device_type,
        location=device.location,
        zone=metadata.zone(stores.zone),
        start=start.astimezone(UTC),
        end=end.astimezone(UTC),
        readings=table if len(table) else pa.table({"timestamp": pa.array([], TIME)}),
        alerts=alerts,
        alerts_total=alerts_total,
        analyses={kind: _analysis(session, job, kind) for kind in job.analysis_types},
        generated_at=utc_now(),
        datasets=provenance(chosen),
        bands=metadata.bands,
        counters=metadata.counters,
        cadence_seconds=metadata.cadence_seconds,
        code_version=code_version,
        waiting_days=waiting,
    )


def _alerts(session: Session, job: ReportJob) -> tuple[list[dict[str, Any]], int]:
    """The newest alerts of the period, and how many there are of them."""
    found = select(Alert).where(
        Alert.device_id == job.device_id,
        Alert.reading_time >= job.date_range_start,
        Alert.reading_time < job.date_range_end,
    )
    rows = session.exec(found.order_by(col(Alert.reading_time).desc()).limit(MAX_ALERTS))
    total = session.exec(select(func.count()).select_from(found.subquery())).one()
    return [row.model_dump(mode="json") for row in rows], total


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
        return {
            "missing": f"none of this period was completed; POST /api/v1/analytics/run asks for the {analysis_type}"
        }
    wanted = {"job_id", "model_name", "dataset_key", "results", "accuracy_metrics", "completed_at"}
    return found.model_dump(include=wanted)
