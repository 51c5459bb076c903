"""Rules with the condition `outside_forecast`: what was measured leaves the band that a forecast gave for the hour.

Orchestration asks every hour, since only analyses know forecasts. The rule's threshold is how many hours in a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from zoneinfo import ZoneInfo

from sqlmodel import Session

from ingest.devices.profile import DeviceProfile, Windows, profile_of
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.active_rule import ActiveRule, Breach
from ingest.rules.alerts import Outcome, decide
from storage.alerts import lock_alerts
from storage.devices import UNITS, registered, with_unit
from storage.maintenance import windows_covering
from storage.rules import OUTSIDE_FORECAST, active_rules_with
from storage.times import HOUR

MIN_COVERAGE = 0.8  # of an hour; less says too little
WATCHED_STATUSES = ("active", "error", "maintenance")
# The band is kept with seven digits.
TOLERANCE = 1e-6
# A metric, and how many hours in a row have to lie outside.
WatchedSeries = tuple[str, int]


@dataclass(frozen=True, slots=True)
class MeasuredHour:
    """What was measured in an hour that begins at `start` (µs), and the band that it was expected in.

    `coverage` is the measured share of the hour, from 0 to 1.
    """

    start: int
    value: float | None
    coverage: float
    lower: float
    upper: float

    @property
    def is_outside(self) -> bool:
        """Whether enough was measured to say that it lies outside the band."""
        if self.value is None or self.coverage < MIN_COVERAGE:
            return False
        tolerance = TOLERANCE * max(abs(self.lower), abs(self.upper))
        return not self.lower - tolerance <= self.value <= self.upper + tolerance


class ForecastWatch:
    """The active rules with the condition `outside_forecast`, and the devices that they watch."""

    def __init__(self, session: Session, site: ZoneInfo) -> None:
        self._session = session
        self._rules = [ActiveRule.of(rule) for rule in active_rules_with(session, OUTSIDE_FORECAST)]
        self._profiles: dict[str, DeviceProfile] = {}
        if self._rules:
            devices = [d for d in session.exec(registered()) if d.status in WATCHED_STATUSES]
            windows = Windows(windows_covering(session, [d.device_id for d in devices]))
            self._profiles = {d.device_id: profile_of(d, site, windows.of(d.device_id, d.tenant_id)) for d in devices}

    @property
    def series(self) -> dict[WatchedSeries, list[str]]:
        """What the rules ask, with the devices that they watch."""
        found: dict[WatchedSeries, set[str]] = {}
        for rule, device_id in self._pairs():
            found.setdefault(_series(rule), set()).add(device_id)
        return {watched: sorted(ids) for watched, ids in sorted(found.items())}

    def raise_alerts(self, measured: Mapping[tuple[str, WatchedSeries], Sequence[MeasuredHour]]) -> Outcome:
        """Raise an alert for each rule and device whose newest hours all lie outside; the caller commits.

        `measured` has the newest hours for each watched device and series, ascending.
        """
        breaches = [
            breach
            for rule, device_id in self._pairs()
            if (breach := self._breach(rule, device_id, measured.get((device_id, _series(rule)), ()))) is not None
        ]
        if not breaches:
            return Outcome()
        lock_alerts(self._session)
        return decide(self._session, breaches, Outbox(NotifySettings.load()))

    def _pairs(self) -> Iterator[tuple[ActiveRule, str]]:
        for rule in self._rules:
            for device_id in self._profiles if rule.devices is None else rule.devices & self._profiles.keys():
                if rule.watches(device_id, self._profiles[device_id].tenant_id):
                    yield rule, device_id

    def _breach(self, rule: ActiveRule, device_id: str, hours: Sequence[MeasuredHour]) -> Breach | None:
        _, count = _series(rule)
        last = hours[-count:]
        if len(last) < count or not all(hour.is_outside for hour in last):
            return None
        if any(after.start - hour.start != HOUR for hour, after in pairwise(last)):
            return None
        profile, newest = self._profiles[device_id], last[-1]
        end = newest.start + HOUR
        if newest.value is None or not rule.is_active(end - 1, profile.zone):
            return None
        message = _message(rule, newest, len(last))
        in_maintenance = any(profile.in_maintenance(hour.start) for hour in last)
        return Breach(rule, device_id, profile.tenant_id, end, newest.value, in_maintenance, message)


def _series(rule: ActiveRule) -> WatchedSeries:
    return rule.metric, max(round(rule.threshold), 1)


def _message(rule: ActiveRule, hour: MeasuredHour, count: int) -> str:
    name = rule.metric.replace("_", " ").capitalize()
    unit = "kWh" if rule.metric.startswith("energy") else UNITS.get(rule.metric, "")
    value, lower, upper = (f"{number:.4g}" for number in (hour.value or 0.0, hour.lower, hour.upper))
    lasted = f"{count} hours in a row" if count > 1 else "an hour"
    expected = with_unit(f"{lower} to {upper}", unit)
    return f"{name} was outside its forecast for {lasted}, at last {value} where {expected} was expected"
