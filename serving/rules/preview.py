"""A rule's dry run over telemetry that is stored already: which alerts it would have raised, and when."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlmodel import Session, col, select

from assets.datasets.read_plan import by_day
from assets.datasets.reader import TelemetryReader
from ingest.devices.profile import DeviceProfile, Windows, profile_of
from ingest.rules.backtest import Backtest, could_meet
from ingest.rules.evaluate import ActiveRule
from serving.dependencies import DatabaseSession, DeviceId, Instant, LimitSettings, Moment, PlatformSettings, Readings
from serving.http.errors import Invalid, NotFound, problems
from serving.rules.routes import standing_rule
from serving.rules.schemas import RuleCreate
from serving.settings import ApiSettings
from storage.arrays import Floats, Times
from storage.catalogue import Dataset
from storage.devices import Device
from storage.maintenance import windows_covering
from storage.rules import NO_DATA, Rule
from storage.settings import Settings
from storage.times import DAY, microseconds, midnight, moment, utc_now

router = APIRouter(prefix="/api/v1/rules", tags=["rules"])

MAX_DEVICE_DAYS = 10_000
MAX_EPISODES = 1000


class PreviewBody(BaseModel):
    """A rule that stands (`rule_id`) or one that is only thought of (`rule`), and a range: the last 30 days by default.

    `device_ids` narrows a rule to some of its devices.
    """

    model_config = ConfigDict(extra="forbid")

    rule_id: UUID | None = None
    rule: RuleCreate | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    device_ids: Annotated[list[DeviceId], Field(max_length=10_000)] | None = None

    @model_validator(mode="after")
    def _names_one_rule(self) -> "PreviewBody":
        if (self.rule_id is None) == (self.rule is None):
            raise Invalid("give either rule_id or rule", field="rule_id")
        return self


class EpisodePublic(BaseModel):
    """An alert that the rule would have raised; `time` and `value` are the reading's."""

    device_id: str
    time: Moment
    value: float


class DevicePreview(BaseModel):
    """`readings` of the metric that were looked at; `held_back` alerts that maintenance windows would have stopped."""

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
    items: list[EpisodePublic] = Field(description=f"In time order, the first {MAX_EPISODES}")
    truncated: bool


class PreviewAnswer(BaseModel):
    success: Literal[True] = True
    data: Preview


@router.post("/preview", responses=problems(NotFound))
def preview_rule(
    session: DatabaseSession,
    settings: PlatformSettings,
    limits: LimitSettings,
    reader: Readings,
    body: PreviewBody,
) -> PreviewAnswer:
    """Count the alerts that a rule would have raised over a range, with cooldown, `for_seconds` and active hours.

    Nothing is raised or sent. Readings are taken in the order of their time, as if none had come late; the maintenance
    windows are those of today, and a device's status is not asked.
    """
    rule = ActiveRule.of(_rule(session, limits, body))
    end = microseconds(body.end_time or utc_now())
    start = microseconds(body.start_time) if body.start_time else end - 30 * DAY
    if start >= end:
        raise Invalid("start_time is not before end_time", field="start_time")
    devices = _devices(session, settings, rule, body.device_ids)
    device_days = len(devices) * (end // DAY - start // DAY + 1)
    if device_days > MAX_DEVICE_DAYS:
        raise Invalid(
            f"that are {device_days} days of devices, at most {MAX_DEVICE_DAYS} are looked at in one preview;"
            " name fewer devices in device_ids, or a shorter range",
            field="start_time",
        )
    backtests = {}
    for device_id, facts in devices.items():
        backtest = backtests[device_id] = Backtest(rule, facts)
        for part in _parts(reader, device_id, rule, start, end):
            if isinstance(part, Dataset):
                backtest.pass_over(part.metrics[rule.metric]["count"], microseconds(midnight(part.end_date)) + DAY - 1)
            else:
                backtest.feed(*part)
    found = sorted((e.time, device_id, e.value) for device_id, backtest in backtests.items() for e in backtest.episodes)
    return PreviewAnswer(
        data=Preview(
            start_time=moment(start),
            end_time=moment(end),
            episodes=len(found),
            held_back=sum(backtest.held_back for backtest in backtests.values()),
            devices=[
                DevicePreview(
                    device_id=device_id,
                    readings=backtest.readings,
                    episodes=len(backtest.episodes),
                    held_back=backtest.held_back,
                )
                for device_id, backtest in backtests.items()
            ],
            items=[EpisodePublic(device_id=d, time=moment(t), value=v) for t, d, v in found[:MAX_EPISODES]],
            truncated=len(found) > MAX_EPISODES,
        )
    )


def _rule(session: Session, limits: ApiSettings, body: PreviewBody) -> Rule:
    if body.rule:
        rule = Rule(**body.rule.values(limits.notification_cooldown_minutes))
    else:
        assert body.rule_id  # noqa: S101 - the body's validator saw to it
        rule = standing_rule(session, body.rule_id)
    if rule.condition == NO_DATA:
        raise Invalid(
            "silence has no preview: it is judged by when readings arrive, and datasets keep when they were measured"
        )
    return rule


def _devices(
    session: Session, settings: Settings, rule: ActiveRule, narrowed: list[str] | None
) -> dict[str, DeviceProfile]:
    """Devices that the rule watches: those it names, or all that are registered."""
    rows = {device.device_id: device for device in session.exec(select(Device).where(col(Device.deleted_at).is_(None)))}
    watched = sorted(rule.devices if rule.devices is not None else rows)
    windows = Windows(windows_covering(session, watched))
    found = {}
    for device_id in watched:
        device = rows.get(device_id)
        tenant_id = device.tenant_id if device else None
        if rule.watches(device_id, tenant_id) and (narrowed is None or device_id in narrowed):
            covering = windows.of(device_id, tenant_id)
            found[device_id] = (
                # Its status says something of today, not of the past.
                replace(profile_of(device, settings.zone, covering), status=None)
                if device
                else DeviceProfile(zone=settings.zone, windows=covering)
            )
    if not found and (narrowed is not None or rule.devices is not None):
        raise Invalid("the rule watches none of these devices", field="device_ids")
    return found


def _parts(
    reader: TelemetryReader, device_id: str, rule: ActiveRule, start: int, end: int
) -> Iterator[tuple[Times, Floats] | Dataset]:
    """A metric's readings day by day; of a day that the catalogue knows to hold nothing for the rule, its dataset."""
    for day in by_day(reader.plan(device_id, start, end)):
        # A dataset's power factor may be derived; rules see what the device itself sent.
        segment = replace(day, file=None) if rule.metric == "power_factor" else day
        if segment.file and segment.is_in_file:
            known = segment.file.metrics.get(rule.metric)
            if known is None:
                continue
            if segment.is_of_file and not could_meet(rule, known["min"], known["max"]):
                yield segment.file
                continue
        table = reader.rows(device_id, segment, [rule.metric])
        yield table["time"].cast("int64").to_numpy(), table[rule.metric].to_numpy()
