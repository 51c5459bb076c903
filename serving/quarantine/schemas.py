"""Requests and answers about the quarantine."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingest.intake import MAX_REPLAYED
from serving.devices.schemas import DeviceId
from serving.http.fields import UNQUOTED, Instant, Moment, Text
from serving.http.pagination import SORT, CursorQuery, TimeRangeQuery
from storage.devices import METRIC

Reason = Annotated[Text, Field(min_length=1, max_length=200, description="Part of the reason's text")]
Metric = Annotated[str, Field(pattern=METRIC, examples=["temperature"])]
RowId = Annotated[int, Field(ge=1, lt=2**63), UNQUOTED]


class QuarantineItem(BaseModel):
    """A message that was refused, or one item of it. `payload` is text, or base64 if it is not UTF-8."""

    id: int
    device_id: str | None
    topic: str
    payload: str
    encoding: Literal["utf-8", "base64"]
    reason: str
    metric: str | None
    received_at: Moment
    replayed_at: Moment | None


class QuarantineQuery(CursorQuery, TimeRangeQuery):
    """`start_time` and `end_time` apply to the time at which a message was received."""

    device_id: DeviceId | None = None
    reason: Reason | None = None
    metric: Metric | None = None
    replayed: Annotated[bool, Field(description="Whether a replay accepted it")] | None = None
    sort: Annotated[Literal["received_at", "-received_at"], SORT] = "-received_at"


class ReplayRequest(BaseModel):
    """The rows to replay: by id, or by the filters of `GET /api/v1/data/quarantine`; without either, all that wait."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[RowId], Field(min_length=1, max_length=MAX_REPLAYED, fail_fast=True)] | None = None
    device_id: DeviceId | None = None
    reason: Reason | None = None
    metric: Metric | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    after_id: Annotated[int, Field(ge=0, lt=2**63, description="`next_after_id` of the previous answer"), UNQUOTED] = 0


class Refusal(BaseModel):
    id: int
    reason: str


class ReplayResult(BaseModel):
    """The outcome of a replay of at most 10,000 rows; continue with `next_after_id` if there are more.

    The `accepted` rows held `readings` valid readings together. `refusals` has the first 100 rows that were refused
    again, each with its current reason. `stopped` says which store did not answer, if the replay stopped early.
    """

    tried: int
    accepted: int
    readings: int
    refused: int
    refusals: list[Refusal]
    next_after_id: int | None
    stopped: str | None


class ReplayAnswer(BaseModel):
    success: Literal[True] = True
    data: ReplayResult
