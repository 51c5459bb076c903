"""Requests and responses of analyses."""

from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from assets.analyses import ANALYSES, AnalysisType
from serving.devices.schemas import DeviceId
from serving.http.fields import Day, Moment, Optional, Text
from serving.http.pagination import SORT, TimeRangeQuery
from serving.jobs.schemas import JobSort
from storage.catalogue import Dataset
from storage.jobs import AnalyticsJob, JobStatus


class DatasetPublic(BaseModel):
    """A Parquet file. `size` is in bytes; `start_date` and `end_date` are both included."""

    key: str
    size: int
    last_modified: Moment
    kind: str
    rows: int
    start_date: date
    end_date: date
    sha256: str

    @classmethod
    def of(cls, dataset: Dataset) -> "DatasetPublic":
        return cls(
            key=dataset.key,
            size=dataset.bytes,
            last_modified=dataset.created_at,
            kind=dataset.kind,
            rows=dataset.rows,
            start_date=dataset.start_date,
            end_date=dataset.end_date,
            sha256=dataset.sha256,
        )


class DatasetList(BaseModel):
    device_id: str
    datasets: list[DatasetPublic]


_PARAMETER_NAMES = frozenset().union(*(analysis.parameters.model_fields for analysis in ANALYSES.values()))


class AnalysisRequest(BaseModel):
    """An analysis of one dataset, or of the days from `start_date` to `end_date`, both included."""

    device_id: DeviceId
    analysis_type: AnalysisType
    model_name: Optional[
        Annotated[
            Text,
            Field(
                max_length=100,
                examples=["isolation_forest"],
                description="By default the one in docs/analytics.md",
            ),
        ]
    ] = None
    dataset_key: Annotated[Text, Field(max_length=500)] | None = None
    start_date: Day | None = None
    end_date: Day | None = None
    parameters: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_parameter_is_ignored(cls, values: Any) -> Any:
        """Other unknown fields are ignored, but a parameter in the wrong place would change the result in silence."""
        misplaced = _PARAMETER_NAMES.intersection(values) if isinstance(values, dict) else set()
        if misplaced:
            names = sorted(misplaced)
            raise ValueError(f'{" and ".join(names)} must be in "parameters", as {{"parameters": {{"{names[0]}": …}}}}')
        return values


class JobAccepted(BaseModel):
    job_id: str
    status: str


class JobState(BaseModel):
    job_id: str
    device_id: str
    analysis_type: AnalysisType
    model_name: str
    status: JobStatus
    progress: Annotated[float | None, Field(description="Percent")]
    message: str | None
    error_message: str | None
    dataset_key: str | None
    date_range_start: Moment
    date_range_end: Moment
    created_at: Moment
    started_at: Moment | None
    completed_at: Moment | None

    @classmethod
    def of(cls, job: AnalyticsJob) -> "JobState":
        return cls.model_validate(job, from_attributes=True)


class JobList(BaseModel):
    jobs: list[JobState]
    total: int
    limit: int
    offset: int


class JobQuery(TimeRangeQuery):
    """Filters of a list of jobs; `start_time` and `end_time` apply to `created_at`."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    status: JobStatus | None = None
    device_id: DeviceId | None = None
    analysis_type: AnalysisType | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    offset: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    sort: Annotated[JobSort, SORT] = "-created_at"

    @property
    def page_size(self) -> int:
        return self.limit


class JobResults(BaseModel):
    """`changed_files`: files of closed days of its range that were made again, or added, since the result was made."""

    job_id: str
    device_id: str
    analysis_type: AnalysisType
    model_name: str
    status: JobStatus
    results: dict[str, Any]
    accuracy_metrics: dict[str, Any]
    execution_time_seconds: int | None
    changed_files: int = 0
