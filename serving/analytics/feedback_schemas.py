"""Requests and answers about feedback: whether an anomaly was a fault."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.fields import Instant, Moment, Text
from serving.http.pagination import SORT, CursorQuery
from storage.anomaly_feedback import Verdict

Note = Annotated[Text, Field(max_length=2000, examples=["The belt was loose"])]


class EventFeedback(BaseModel):
    """Whether an event was a fault (`fault`) or not (`none`)."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    note: Note | None = None


class MissedFault(BaseModel):
    """A fault that no event reported, from its first to its last moment."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    device_id: DeviceId
    starts_at: Annotated[Instant, Field(alias="from")]
    ends_at: Annotated[Instant, Field(alias="to")]
    note: Note | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.starts_at >= self.ends_at:
            raise Invalid("from must be before to", field="from")
        return self


class FeedbackPublic(BaseModel):
    """What somebody said. `job_id` and `event` are null for a fault that no event reported."""

    feedback_id: int
    device_id: str
    job_id: str | None
    event: int | None
    starts_at: Annotated[Moment, Field(serialization_alias="from")]
    ends_at: Annotated[Moment, Field(serialization_alias="to")]
    verdict: Verdict
    note: str | None
    given_by: str
    given_at: Moment


class FeedbackQuery(CursorQuery):
    device_id: DeviceId | None = None
    job_id: Annotated[Text, Field(max_length=100)] | None = None
    verdict: Literal["fault", "none"] | None = None
    sort: Annotated[Literal["given_at", "-given_at", "from", "-from"], SORT] = "-given_at"
