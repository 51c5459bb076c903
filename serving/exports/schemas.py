"""Requests and responses of exports."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from serving.devices.schemas import DeviceId
from serving.http.fields import Day, Moment, Text
from serving.http.pagination import SORT, CursorQuery, TimeRangeQuery
from serving.jobs.schemas import JobSort
from storage.checkpoints import ExportCheckpoint
from storage.jobs import ExportJob, JobStatus


class ExportRequest(BaseModel):
    """An export of the device's changed days or, with a range, one file from `start_date` to `end_date`, included."""

    device_id: DeviceId
    start_date: Day | None = None
    end_date: Day | None = None


class ExportStarted(BaseModel):
    device_id: str
    status: Literal["started"] = "started"
    job_id: str


class ExportStatus(BaseModel):
    """The progress or the result of an export."""

    device_id: str
    status: str
    last_exported_at: Moment | None
    record_count: int
    s3_key: str | None
    job_id: str | None = None
    progress: Annotated[float | None, Field(description="Percent")] = None
    message: str | None = None
    error_message: str | None = None
    created_at: Moment | None = None
    completed_at: Moment | None = None

    @classmethod
    def of_checkpoint(cls, checkpoint: ExportCheckpoint) -> "ExportStatus":
        return cls(
            device_id=checkpoint.device_id,
            status=checkpoint.status.lower(),
            last_exported_at=checkpoint.last_exported_at,
            record_count=checkpoint.record_count,
            s3_key=checkpoint.s3_key,
        )

    @classmethod
    def of_job(cls, job: ExportJob, checkpoint: ExportCheckpoint | None = None) -> "ExportStatus":
        """Return a job's status; the device's checkpoint says what was exported before."""
        result = job.results or {}
        exported_at = checkpoint.last_exported_at if checkpoint else None
        return cls(
            device_id=job.device_id,
            status=job.status,
            last_exported_at=job.completed_at if job.status == "completed" else exported_at,
            record_count=result.get("record_count", checkpoint.record_count if checkpoint else 0),
            s3_key=result.get("s3_key", checkpoint.s3_key if checkpoint else None),
            job_id=job.job_id,
            progress=job.progress,
            message=job.message,
            error_message=job.error_message,
            created_at=job.created_at,
            completed_at=job.completed_at,
        )


class ExportQuery(CursorQuery, TimeRangeQuery):
    """Filters of a list of exports; `start_time` and `end_time` apply to `created_at`."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    status: JobStatus | None = None
    sort: Annotated[JobSort, SORT] = "-created_at"
