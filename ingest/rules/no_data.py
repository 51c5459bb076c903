"""Rules with the condition `no_data`, evaluated every few seconds: devices from which nothing arrives any more.

Time without data counts only while an ingester was listening: if ingestion or its stores were away, no device is to
blame. It counts anew after maintenance. Of a rule with active hours, only time within them counts. A device raises one
alert until it sends again.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from ingest.devices.last_seen import LastSeen
from ingest.devices.profile import DeviceProfile
from ingest.devices.registry import Registry
from ingest.metrics import IngestMetrics
from ingest.notify.outbox import Outbox
from ingest.rules.active_hours import active_since
from ingest.rules.active_rule import ActiveRule, Breach
from ingest.rules.alerts import decide
from storage.alerts import last_raised, lock_alerts
from storage.last_seen import last_seen_times, listen
from storage.loops import Loop
from storage.maintenance import suppressed_spans
from storage.rules import NO_DATA, Rule
from storage.times import MINUTE, SECOND, microseconds

log = logging.getLogger(__name__)

TICK_SECONDS = 5.0
# Other ingesters save what they have seen once per tick. Before a breach, each must have had the time to do so.
GRACE = 2 * int(TICK_SECONDS) * SECOND
EXPECTED_TO_SEND = ("active", "error", "maintenance")


class NoDataMonitor:
    """The thread of one ingester that looks for devices without data. It also saves `LastSeen` to the database."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        last_seen: LastSeen,
        outbox: Outbox,
        *,
        metrics: IngestMetrics,
        is_receiving: Callable[[], bool],
    ) -> None:
        """`is_receiving` says whether this ingester takes what devices send at this moment."""
        self._engine = engine
        self._registry = registry
        self._last_seen = last_seen
        self._outbox = outbox
        self._metrics = metrics
        self._is_receiving = is_receiving
        self._rows: tuple[Rule, ...] = ()
        self._rules: list[ActiveRule] = []
        self.loop = Loop("no_data")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="no-data", daemon=True)

    def start(self) -> None:
        self.loop.worked()
        self._thread.start()

    def stop(self) -> None:
        """Save what was seen, and end the thread."""
        self._stopping.set()
        self._thread.join()

    def tick(self) -> None:
        """Save when devices were seen, and raise alerts for those without data."""
        with Session(self._engine, expire_on_commit=False) as session:
            self._last_seen.save(session)
            if not self._is_receiving():
                return
            listening_since, now = listen(session)
            session.commit()
            rules = self._active_rules()
            if not rules:
                return
            lock_alerts(session)
            last_seen = last_seen_times(session)
            breaches = list(find_breaches(rules, self._registry.profiles(), last_seen, listening_since, now))
            outcome = decide(session, _not_yet_raised(session, breaches, last_seen), self._outbox)
            session.commit()
        self._metrics.no_data_evaluated(alerts=len(outcome.alerts), suppressed=outcome.suppressed)

    def _active_rules(self) -> list[ActiveRule]:
        rows = self._registry.rules
        if rows is not self._rows:
            self._rules, self._rows = [ActiveRule.of(row) for row in rows if row.condition == NO_DATA], rows
        return self._rules

    def _run(self) -> None:
        while True:
            stopping = self._stopping.wait(TICK_SECONDS)
            try:
                self.tick()
                self.loop.worked()
            except DBAPIError as error:
                self.loop.failed(error.orig or error)
                log.warning("cannot look for devices without data: %s", str(error.orig).strip().splitlines()[0])
            except Exception as error:
                self.loop.failed(error)
                log.exception("looking for devices without data failed; trying again in %g s", TICK_SECONDS)
            if stopping:
                return


def find_breaches(
    rules: Sequence[ActiveRule],
    profiles: Mapping[str, DeviceProfile],
    last_seen: Mapping[str, int],
    listening_since: int,
    now: int,
) -> Iterator[Breach]:
    """Devices without data for longer than a rule allows. A breach's value is in minutes, of all the time that passed.

    Times are in microseconds.

    Args:
        rules: those with the condition `no_data`.
        profiles: all devices that are registered.
        last_seen: when each device's last reading was received.
        listening_since: since when ingesters have listened without a break.
        now: the database's time.

    """
    latest: dict[tuple[UUID, str], int | None] = {}
    for device_id, profile in profiles.items():
        if profile.status not in EXPECTED_TO_SEND:
            continue
        without_data_since = max(last_seen.get(device_id, 0), profile.edited_at)
        ended_maintenance = (end for _, end in profile.windows if end <= now)
        counts_from = max(without_data_since, listening_since, *ended_maintenance)
        for rule in rules:
            if not rule.watches(device_id, profile.tenant_id):
                continue
            key = (rule.rule_id, profile.zone.key)
            if key not in latest:
                latest[key] = _latest_start(rule, profile.zone, listening_since, now)
            if (start := latest[key]) is not None and counts_from <= start:
                minutes = (now - without_data_since) / MINUTE
                yield Breach(rule, device_id, profile.tenant_id, now, minutes, profile.in_maintenance(now))


def _latest_start(rule: ActiveRule, zone: ZoneInfo, listening_since: int, now: int) -> int | None:
    """When, at the latest, a breach of now must have begun; None if there can be none now."""
    duration = round(rule.threshold * MINUTE) + GRACE
    if rule.hours is None:
        return now - duration
    return active_since(rule.hours, zone, now, duration, listening_since)


def _not_yet_raised(session: Session, breaches: Sequence[Breach], last_seen: Mapping[str, int]) -> list[Breach]:
    """The breaches without those for which an alert was raised, or suppressed, since the device was last seen."""
    if not breaches:
        return []
    keys = [breach.key for breach in breaches]
    raised, suppressed = last_raised(session, keys), suppressed_spans(session, keys)
    new = []
    for breach in breaches:
        if breach.in_maintenance:
            last = suppressed[breach.key][1] if breach.key in suppressed else None
        else:
            last = raised.get(breach.key)
        if last is None or microseconds(last) <= last_seen.get(breach.device_id, 0):
            new.append(breach)
    return new
