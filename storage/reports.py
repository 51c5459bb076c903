"""Jobs of reports: what they were asked for, and the editions of one report."""

from collections.abc import Collection
from typing import Any

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from storage import jobs
from storage.jobs import FLEET, ReportJob


def report_parameters(**given: Any) -> dict[str, Any] | None:
    """The `parameters` of a report's job, without those that are not set."""
    return {name: value for name, value in given.items() if value} or None


def report_jobs(*, of_fleets: bool | None) -> SelectOfScalar[ReportJob]:
    """Select reports: only those of fleets, only those of one device, or all."""
    query = select(ReportJob)
    if of_fleets is None:
        return query
    return query.where(ReportJob.device_id == FLEET if of_fleets else ReportJob.device_id != FLEET)


def first_edition(report: ReportJob) -> str:
    """The id of the report of which this one is a new edition; its own id if it is the first."""
    return str((report.parameters or {}).get("edition_of") or report.job_id)


def newest_editions(session: Session, first_ids: Collection[str]) -> dict[str, ReportJob]:
    """The newest new edition that has not failed, by the id of the first one; reports without one are left out."""
    first = col(ReportJob.parameters)["edition_of"].astext
    editions = select(ReportJob).where(first.in_(first_ids), col(ReportJob.status).not_in(("failed", "cancelled")))
    found = session.exec(editions.order_by(col(ReportJob.created_at)))
    return {first_edition(report): report for report in found}


def new_edition(session: Session, report: ReportJob) -> ReportJob:
    """A job that makes a report again, from the datasets of now. It is not added to the session."""
    first = first_edition(report)
    newest = newest_editions(session, [first]).get(first, report)
    number = (newest.parameters or {}).get("edition", 1) + 1
    return ReportJob(
        job_id=jobs.new_job_id(ReportJob),
        tenant_id=report.tenant_id,
        device_id=report.device_id,
        analysis_types=report.analysis_types,
        format=report.format,
        parameters={**(report.parameters or {}), "edition": number, "edition_of": first},
        date_range_start=report.date_range_start,
        date_range_end=report.date_range_end,
    )
