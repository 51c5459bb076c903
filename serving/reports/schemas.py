"""Requests and responses of reports."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from assets.reports import LanguageCode
from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.fields import Instant, Moment, Text
from serving.http.pagination import SORT, CursorQuery, TimeRangeQuery
from serving.jobs.schemas import JobSort
from serving.reports.subject import AnalysesFields, Scope, scope_of
from storage.jobs import JobStatus, ReportJob

Format = Literal["pdf", "excel", "json", "html"]


class ReportRequest(AnalysesFields):
    """A report from `date_range_start` up to `date_range_end`.

    It is of one device, with the analyses of its period, or of a fleet: the energy of its devices, ranked and summed.
    """

    date_range_start: Instant
    date_range_end: Instant
    format: Format = "pdf"
    language: Annotated[
        LanguageCode | None, Field(description="Of its texts, numbers and dates; else SITE_LANGUAGE")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _has_one_format(cls, body: Any) -> Any:
        """Refuse what would else become a PDF that nobody asked for."""
        if isinstance(body, Mapping) and body.get("formats") is not None and "format" not in body:
            raise Invalid(
                f"a report has one format; send it as format ({', '.join(get_args(Format))}), and one request for each",
                field="formats",
            )
        if isinstance(body, Mapping) and "format" in body and not body["format"]:
            raise Invalid(f"no format is given; choose {', '.join(get_args(Format))}, or leave it out", field="format")
        return body


class Outdated(BaseModel):
    """What has changed since a report was issued, and how to get a new edition of it.

    The energies are that of the report, and that of its period as the datasets have it now.
    """

    changed_files: int = Field(description="Its days' files that were made again; of a fleet, devices with such files")
    added_files: int = Field(description="Files of days that had none; of a fleet, devices that had none")
    energy_issued_kwh: float | None
    energy_now_kwh: float | None
    difference_kwh: float | None = Field(description="By how much a new edition's energy would differ")
    new_edition: str = Field(description="POST to this path makes the new edition; this report stays")


class ReportAccepted(BaseModel):
    job_id: str
    status: str


class ReportState(BaseModel):
    """The status of a report; `size_bytes` and `sha256` are set once there is a file."""

    job_id: str
    scope: Scope
    device_id: str = Field(description="`*` for a fleet report")
    device_ids: list[str] | None = Field(description="The devices of a fleet report; null for all of them")
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
    edition: int = Field(1, description="1 for the report as it was first issued")
    edition_of: str | None = Field(None, description="The first edition of a report that was made again")
    newest_edition: str | None = Field(None, description="The newest edition of the report, if it is another one")
    outdated: Outdated | None = Field(None, description="Set if its datasets were made again since it was issued")
    size_bytes: int | None
    sha256: str | None

    @classmethod
    def of(cls, job: ReportJob, editions: Mapping[str, Any] = MappingProxyType({})) -> "ReportState":
        """The state of a report; `editions` are the fields about its editions."""
        file = job.results or {}
        return cls.model_validate(
            {
                **job.model_dump(),
                **editions,
                "language": file.get("provenance", {}).get("language") or (job.parameters or {}).get("language"),
                "scope": scope_of(job.device_id),
                "device_ids": (job.parameters or {}).get("device_ids"),
                "size_bytes": file.get("size_bytes"),
                "sha256": file.get("sha256"),
            }
        )


class ReportQuery(CursorQuery, TimeRangeQuery):
    """Filters of a list of reports; `start_time` and `end_time` apply to `created_at`."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    scope: Scope | None = None
    status: JobStatus | None = None
    format: Format | None = None
    sort: Annotated[JobSort, SORT] = "-created_at"
