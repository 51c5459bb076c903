"""A rule's preview: the alerts that it would have raised over stored telemetry, and when."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fastapi import APIRouter
from sqlmodel import Session

from assets.datasets import TelemetryReader
from ingest.devices import DeviceProfile, Windows, profile_of
from ingest.rules import ActiveRule, Backtest, could_meet
from serving.auth.identified import IdentifiedRoute
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import LimitSettings, PlatformSettings, Readings
from serving.http.errors import Invalid, NotFound, problems
from serving.rules.preview_schemas import (
    MAX_EPISODES,
    DevicePreview,
    EpisodePublic,
    Preview,
    PreviewAnswer,
    PreviewRequest,
)
from serving.rules.routes import existing_rule
from serving.settings import ApiSettings
from storage.arrays import Floats, Times
from storage.catalogue import Dataset
from storage.devices import registered
from storage.maintenance import windows_covering
from storage.rules import NO_DATA, OUTSIDE_FORECAST, Rule
from storage.settings import Settings
from storage.times import DAY, microseconds, midnight, moment, utc_now

router = APIRouter(prefix="/api/v1/rules", tags=["rules"], route_class=IdentifiedRoute)

MAX_DEVICE_DAYS = 10_000
DEFAULT_DAYS = 30


@router.post("/preview", responses=problems(NotFound))
def preview_rule(
    session: DatabaseSession,
    settings: PlatformSettings,
    limits: LimitSettings,
    reader: Readings,
    body: PreviewRequest,
) -> PreviewAnswer:
    """Count the alerts that a rule would have raised over a range, with cooldown, `for_seconds` and active hours.

    Nothing is raised or sent. Readings are evaluated in time order, as if none had arrived late. The current
    maintenance windows apply; the status of devices does not.
    """
    rule = ActiveRule.of(_rule(session, limits, body))
    end = microseconds(body.end_time or utc_now())
    start = microseconds(body.start_time) if body.start_time else end - DEFAULT_DAYS * DAY
    if start >= end:
        raise Invalid("start_time must be before end_time", field="start_time")
    profiles = _profiles(session, settings, rule, body.device_ids)
    device_days = len(profiles) * (end // DAY - start // DAY + 1)
    if device_days > MAX_DEVICE_DAYS:
        raise Invalid(
            f"the preview would read {device_days} device-days; the limit is {MAX_DEVICE_DAYS}."
            " Choose fewer devices or a shorter range",
            field="start_time",
        )
    backtests = {device_id: Backtest(rule, profile) for device_id, profile in profiles.items()}
    for device_id, backtest in backtests.items():
        for part in _parts(reader, device_id, rule, start, end):
            if isinstance(part, Dataset):
                last = microseconds(midnight(part.end_date)) + DAY - 1
                backtest.skip(part.metrics[rule.metric]["count"], last)
            else:
                backtest.feed(*part)
    episodes = sorted(
        (episode.time, device_id, episode.value)
        for device_id, backtest in backtests.items()
        for episode in backtest.episodes
    )
    return PreviewAnswer(
        data=Preview(
            start_time=moment(start),
            end_time=moment(end),
            episodes=len(episodes),
            held_back=sum(backtest.suppressed for backtest in backtests.values()),
            devices=[
                DevicePreview(
                    device_id=device_id,
                    readings=backtest.readings,
                    episodes=len(backtest.episodes),
                    held_back=backtest.suppressed,
                )
                for device_id, backtest in backtests.items()
            ],
            items=[
                EpisodePublic(device_id=device_id, time=moment(time), value=value)
                for time, device_id, value in episodes[:MAX_EPISODES]
            ],
            truncated=len(episodes) > MAX_EPISODES,
        )
    )


def _rule(session: Session, limits: ApiSettings, body: PreviewRequest) -> Rule:
    if body.rule:
        rule = Rule(**body.rule.values(limits.notification_cooldown_minutes))
    else:
        assert body.rule_id  # noqa: S101 - the body's validator made sure
        rule = existing_rule(session, body.rule_id)
    if rule.condition == NO_DATA:
        raise Invalid(
            "a no_data rule has no preview: it goes by when readings arrive, and datasets keep only when they were"
            " measured"
        )
    if rule.condition == OUTSIDE_FORECAST:
        raise Invalid(
            "an outside_forecast rule has no preview: it goes by the forecasts that were stored before the hours; their"
            " share of hours within the band is coverage_95 in the accuracy_metrics of each forecast"
        )
    return rule


def _profiles(
    session: Session, settings: Settings, rule: ActiveRule, device_ids: Sequence[str] | None
) -> dict[str, DeviceProfile]:
    """The devices that the rule watches, of `device_ids` if given: those it names, or all registered ones."""
    devices = {device.device_id: device for device in session.exec(registered())}
    watched = sorted(rule.devices if rule.devices is not None else devices)
    windows = Windows(windows_covering(session, watched))
    profiles = {}
    for device_id in watched:
        device = devices.get(device_id)
        tenant_id = device.tenant_id if device else None
        if rule.watches(device_id, tenant_id) and (device_ids is None or device_id in device_ids):
            covering = windows.of(device_id, tenant_id)
            profiles[device_id] = (
                # The status is today's, and says nothing about the past.
                replace(profile_of(device, settings.zone, covering), status=None)
                if device
                else DeviceProfile(zone=settings.zone, windows=covering)
            )
    if not profiles and (device_ids is not None or rule.devices is not None):
        raise Invalid("the rule does not watch any of these devices; choose others", field="device_ids")
    return profiles


def _parts(
    reader: TelemetryReader, device_id: str, rule: ActiveRule, start: int, end: int
) -> Iterator[tuple[Times, Floats] | Dataset]:
    """A metric's times and values day by day; a day's dataset instead if the catalogue shows that nothing meets."""
    for day in reader.plan(device_id, start, end, by_day=True):
        # A dataset's power factor may be derived; rules see what the device itself sent.
        segment = replace(day, file=None) if rule.metric == "power_factor" else day
        if segment.file and segment.is_in_file:
            metric = segment.file.metrics.get(rule.metric)
            if metric is None:
                continue
            if segment.is_of_file and not could_meet(rule, metric["min"], metric["max"]):
                yield segment.file
                continue
        table = reader.rows(device_id, segment, [rule.metric])
        yield table["time"].cast("int64").to_numpy(), table[rule.metric].to_numpy()
