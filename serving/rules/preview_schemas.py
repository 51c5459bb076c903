"""Requests and answers about previews of rules."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.fields import Instant, Moment
from serving.rules.schemas import RuleCreate

MAX_EPISODES = 1000


class PreviewRequest(BaseModel):
    """A saved rule (`rule_id`) or a new one (`rule`), and a range, by default the last 30 days.

    `device_ids` limits the preview to some of the rule's devices.
    """

    model_config = ConfigDict(extra="forbid")

    rule_id: UUID | None = None
    rule: RuleCreate | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    device_ids: Annotated[list[DeviceId], Field(max_length=10_000, fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _names_one_rule(self) -> "PreviewRequest":
        if (self.rule_id is None) == (self.rule is None):
            raise Invalid("send either rule_id or rule", field="rule_id")
        return self


class EpisodePublic(BaseModel):
    """An alert that the rule would have raised; `time` and `value` are those of the reading."""

    device_id: str
    time: Moment
    value: float


class DevicePreview(BaseModel):
    """`readings` counts the values evaluated, `held_back` the alerts that maintenance windows would have suppressed."""

    device_id: str
    readings: int
    episodes: int
    held_back: int


class Preview(BaseModel):
    start_time: Moment
    end_time: Moment
    episodes: int
    held_back: int
    devices: list[DevicePreview]
    items: list[EpisodePublic] = Field(description=f"The first {MAX_EPISODES}, in time order")
    truncated: bool


class PreviewAnswer(BaseModel):
    success: Literal[True] = True
    data: Preview
