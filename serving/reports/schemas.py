"""Requests and responses of reports."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from assets.analyses import AnalysisType
from assets.reports import LanguageCode
from serving.devices.schemas import DeviceId
from serving.http.fields import Instant, Moment, Text
from serving.http.pagination import SORT, CursorQuery, TimeRangeQuery
from serving.jobs.schemas import JobSort
from storage.jobs import JobStatus, ReportJob

Format = Literal["pdf", "excel", "json", "html"]


class ReportRequest(BaseModel):
    """A report of one device from `date_range_start` up to `date_range_end`, with its newest analysis results."""

    device_id: DeviceId
    analysis_types: Annotated[list[AnalysisType], Field(max_length=3)] = []
    date_range_start: Instant
    date_range_end: Instant
    format: Format = "pdf"
    language: Annotated[
        LanguageCode | None, Field(description="Of its texts, numbers and dates; else SITE_LANGUAGE")
    ] = None


class ReportAccepted(BaseModel):
    job_id: str
    status: str


class ReportState(BaseModel):
    """The status of a report; `size_bytes` and `sha256` are set once there is a file."""

    job_id: str
    device_id: str
    format: Format
    language: Annotated[LanguageCode | None, Field(description="As requested, or as it was made")] = None
    status: str
    progress: Annotated[float | None, Field(description="Percent")]
    message: str | None
    error_message: str | None
    date_range_start: Moment
    date_range_end: Moment
    created_at: Moment
    completed_at: Moment | None
    size_bytes: int | None
    sha256: str | None

    @classmethod
    def of(cls, job: ReportJob) -> "ReportState":
        file = job.results or {}
        return cls.model_validate(
            {
                **job.model_dump(),
                "language": file.get("provenance", {}).get("language") or (job.parameters or {}).get("language"),
                "size_bytes": file.get("size_bytes"),
                "sha256": file.get("sha256"),
            }
        )


class ReportQuery(CursorQuery, TimeRangeQuery):
    """Filters of a list of reports; `start_time` and `end_time` apply to `created_at`."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    status: JobStatus | None = None
    format: Format | None = None
    sort: Annotated[JobSort, SORT] = "-created_at"
