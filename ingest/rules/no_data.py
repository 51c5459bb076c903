"""Silent devices: rules with the condition `no_data`, judged every few seconds on the clock.

A device is silent for as long as nothing came from it while somebody listened: an ingester that was away, or whose
stores were, heard nobody and blames nobody. Work on the device does not count either. One silence is one alert.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, select

from ingest.devices.last_seen import LastSeen
from ingest.devices.profile import DeviceProfile
from ingest.devices.registry import Registry
from ingest.metrics import IngestMetrics
from ingest.notify.outbox import Outbox
from ingest.rules import alerts
from ingest.rules.evaluate import ActiveRule, Breach
from storage.last_seen import DeviceLastSeen
from storage.times import MINUTE, SECOND, microseconds

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
# Other ingesters tell what they heard once per tick; a device is silent when all of them could have said otherwise.
GRACE = 2 * int(EVERY_SECONDS) * SECOND
EXPECTED_TO_SEND = ("active", "error", "maintenance")

# A break of half a minute is one: whoever comes back after it begins to listen anew.
_LISTEN = text("""
INSERT INTO listening AS l (id, since, until) VALUES (1, clock_timestamp(), clock_timestamp())
ON CONFLICT (id) DO UPDATE SET until = excluded.until,
    since = CASE WHEN l.until < excluded.until - interval '30 seconds' THEN excluded.since ELSE l.since END
RETURNING since, until
""")
_SAID = text("""
SELECT w.device_id, w.rule_id, (SELECT max(a.reading_time) FROM alerts a
                                WHERE a.rule_id = w.rule_id AND a.device_id = w.device_id),
       (SELECT h.last_reading_time FROM held_back_alerts h WHERE h.rule_id = w.rule_id AND h.device_id = w.device_id)
FROM unnest(CAST(:devices AS text[]), CAST(:rules AS uuid[])) AS w (device_id, rule_id)
""")


class NoDataMonitor:
    """The loop of one ingester. It also keeps `LastSeen` in the database."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        last_seen: LastSeen,
        outbox: Outbox,
        *,
        counts: IngestMetrics,
        hears: Callable[[], bool],
    ) -> None:
        """`hears`: whether this ingester takes what devices send at this moment."""
        self._engine = engine
        self._registry = registry
        self._last_seen = last_seen
        self._outbox = outbox
        self._counts = counts
        self._hears = hears
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="silence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Keep what was heard, and end."""
        self._stopping.set()
        self._thread.join()

    def tick(self) -> None:
        """Write down who was heard, and raise alerts for who was not."""
        with Session(self._engine, expire_on_commit=False) as session:
            self._last_seen.keep(session)
            if not self._hears():
                return
            listening_since, now = (microseconds(moment) for moment in session.execute(_LISTEN).one())
            session.commit()
            rules = self._registry.rules.silence
            if not rules:
                return
            alerts.lock(session)
            heard = {
                device_id: microseconds(at)
                for device_id, at in session.exec(select(DeviceLastSeen.device_id, DeviceLastSeen.heard_at))
            }
            silent = list(find_silent(rules, self._registry.devices(), heard, listening_since, now))
            outcome = alerts.decide(session, _unsaid(session, silent, heard), self._outbox)
            session.commit()
        self._counts.silence(alerts=len(outcome.alerts), held_back=outcome.suppressed)

    def _run(self) -> None:
        while True:
            ended = self._stopping.wait(EVERY_SECONDS)
            try:
                self.tick()
            except DBAPIError as error:
                log.warning("silent devices are not looked for: %s", str(error.orig).strip().splitlines()[0])
            except Exception:
                log.exception("looking for silent devices failed; it goes on in %s s", EVERY_SECONDS)
            if ended:
                return


def find_silent(
    rules: Sequence[ActiveRule],
    devices: Mapping[str, DeviceProfile],
    heard: Mapping[str, int],
    listening_since: int,
    now: int,
) -> Iterator[Breach]:
    """Devices that were silent for longer than a rule allows, within its active hours; the value is in minutes.

    Args:
        rules: those with the condition `no_data`.
        devices: all that are registered.
        heard: when each last sent anything, in microseconds as everything here.
        listening_since: since when without a break somebody listens.
        now: the database's clock.

    """
    for device_id, facts in devices.items():
        if facts.status not in EXPECTED_TO_SEND:
            continue
        since = max(heard.get(device_id, 0), facts.registered_at)
        counts_from = max(since, listening_since, *(end for _, end in facts.windows if end <= now))
        for rule in rules:
            if (
                now - counts_from >= rule.threshold * MINUTE + GRACE
                and rule.watches(device_id, facts.tenant_id)
                and rule.is_active(now, facts.zone)
            ):
                minutes = (now - since) / MINUTE
                yield Breach(rule, device_id, facts.tenant_id, now, minutes, facts.in_maintenance(now))


def _unsaid(session: Session, silent: Sequence[Breach], heard: Mapping[str, int]) -> list[Breach]:
    """Without those about whose present silence an alert was raised, or held back, before."""
    if not silent:
        return []
    keys = {"devices": [b.device_id for b in silent], "rules": [b.rule.rule_id for b in silent]}
    said: dict[tuple[str, UUID], tuple[datetime | None, datetime | None]] = {
        (device_id, rule_id): (alert, counted) for device_id, rule_id, alert, counted in session.execute(_SAID, keys)
    }
    unsaid = []
    for breach in silent:
        alert, counted = said[breach.key]
        last = counted if breach.in_maintenance else alert
        if last is None or microseconds(last) <= heard.get(breach.device_id, 0):
            unsaid.append(breach)
    return unsaid
