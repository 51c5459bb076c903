"""Requests and answers about recorded failures."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, model_validator

from ingest.intake import EARLIEST, MAX_AHEAD
from serving.http.errors import Invalid
from serving.http.fields import Instant, Moment, Text
from serving.http.pagination import SORT, CursorQuery, TimeRangeQuery
from storage.failures import FailureSource
from storage.times import microseconds, utc_now


def _has_happened(moment: datetime) -> datetime:
    if microseconds(moment) < EARLIEST:
        raise ValueError("is before 2000-01-01, and no reading is that old")
    if microseconds(moment) > microseconds(utc_now()) + MAX_AHEAD:
        raise ValueError("lies in the future; send what has happened")
    return moment


Past = Annotated[Instant, AfterValidator(_has_happened)]


class FailureFields(BaseModel):
    """When a device failed, when it ran again, and what happened. What it measured in between is not learnt from."""

    failed_at: Annotated[Past, Field(examples=["2026-02-12T08:30:00Z"])]
    repaired_at: Past | None = None
    description: Annotated[Text, Field(max_length=2000, examples=["Bearing seized"])] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.repaired_at is not None and self.repaired_at <= self.failed_at:
            raise Invalid("repaired_at must be after failed_at", field="repaired_at")
        return self


class FailurePublic(BaseModel):
    """`source`: `api`, `import` (`energy failures import`), or `status`: the device's status turned `error`."""

    failure_id: UUID
    device_id: str
    failed_at: Moment
    repaired_at: Moment | None
    description: str | None
    source: FailureSource
    created_at: Moment
    updated_at: Moment


class FailureAnswer(BaseModel):
    success: Literal[True] = True
    data: FailurePublic


class FailureQuery(CursorQuery, TimeRangeQuery):
    """Filters of a list of failures; `start_time` and `end_time` apply to `failed_at`."""

    source: FailureSource | None = None
    sort: Annotated[Literal["failed_at", "-failed_at", "created_at", "-created_at"], SORT] = "-failed_at"
