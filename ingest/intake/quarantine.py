"""A second chance for what was refused: after a device, its limits or the platform was corrected.

Each payload is decoded again as if it came now, but with the time it was received at, and kept by the very steps of
intake: telemetry first, then the ledger, rules and the row's `replayed_at` in one transaction. It is not published to
its topic again: that would lose when it was received, come back into quarantine as a new row each time, and answer
nothing. Whoever is told of alerts hears of these too, if the readings are not too old for it.

What holds no good reading stays as it is. Of a payload that holds some, the rest becomes rows of its own. Dying
anywhere is safe: a row that is not marked is done again, which changes nothing that was kept.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import paho.mqtt.client as mqtt
from sqlalchemy import Engine, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import Session, col, select, update

from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake.intake import Intake, Work
from ingest.metrics import IngestMetrics
from ingest.mqtt.subscription import Message
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from storage.quarantine import QuarantinedReading, Selection
from storage.settings import Settings
from storage.telemetry import StoreUnavailable, TelemetryStore
from storage.times import microseconds, utc_now

log = logging.getLogger(__name__)

# Rows kept together. A payload may have a megabyte.
PAGE = 50
MAX_REPLAYED = 10_000


class ReplayRunning(Exception):
    """Another replay is at work; two at once would only do everything twice."""


@dataclass
class Replayed:
    """What became of the rows: `accepted` ones held at least one good reading, `refused` are (id, reason of today).

    `stopped` says why the rows after `last_id` were not tried.
    """

    tried: int = 0
    last_id: int = 0
    accepted: int = 0
    readings: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    stopped: str | None = None


def waiting(session: Session, selection: Selection, *, after: int = 0, most: int = MAX_REPLAYED) -> list[int]:
    """Ids of the selection's rows that were not replayed yet, ascending from after an id."""
    row_id = col(QuarantinedReading.id)
    found = selection.of(select(row_id)).where(col(QuarantinedReading.replayed_at).is_(None), row_id > after)
    return [found_id for found_id in session.exec(found.order_by(row_id).limit(most)) if found_id is not None]


def replay(settings: Settings, engine: Engine, store: TelemetryStore, ids: Sequence[int]) -> Replayed:
    """Try the rows again, in their order; those that were replayed already are left out.

    Raises:
        ReplayRunning: another process or request is replaying.
        StoreUnavailable, sqlalchemy.exc.OperationalError: a store does not answer and nothing was done yet.

    """
    with _alone(engine):
        registry = Registry(settings, engine)
        registry.load()
        last_seen = LastSeen()
        with Session(engine) as session:
            last_seen.load(session)
        raiser = AlertRaiser(registry, last_seen, Outbox(NotifySettings.load()))
        intake = Intake(settings.mqtt_topic, store, engine, registry, IngestMetrics(), raiser=raiser)
        result = Replayed()
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            try:
                _replay_page(intake, engine, settings.mqtt_topic, page, result)
            except (StoreUnavailable, OperationalError, InterfaceError) as error:
                if not start:
                    raise
                result.stopped = f"a store does not answer: {str(error).splitlines()[0]}"
                break
            result.tried += len(page)
            result.last_id = page[-1]
        return result


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    with engine.connect() as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(hashtext('energy/replay'))")):
            raise ReplayRunning("another replay is at work; try again when it has ended")
        yield


def _replay_page(intake: Intake, engine: Engine, topic_filter: str, ids: Sequence[int], result: Replayed) -> None:
    with Session(engine) as session:
        query = Selection(ids=ids, replayed=False).of(select(QuarantinedReading))
        rows = session.exec(query.order_by(col(QuarantinedReading.id))).all()
    good: dict[int, Work] = {}
    for row in rows:
        assert row.id is not None  # noqa: S101 - it was read from the database
        if not mqtt.topic_matches_sub(topic_filter, row.topic):
            result.refused.append((row.id, f"its topic {row.topic} is none of MQTT_TOPIC={topic_filter}"))
            continue
        work = intake.work(_message(row))
        if work.decoded.readings:
            good[row.id] = work
        else:
            result.refused.append((row.id, work.decoded.rejected[0].reason))
    if good:
        _keep(intake, good, result)


def _keep(intake: Intake, good: dict[int, Work], result: Replayed) -> None:
    try:
        refused = intake.commit(list(good.values()), lambda session: _mark(session, list(good)))
    except (StoreUnavailable, OperationalError, InterfaceError):
        raise
    except Exception:
        if len(good) > 1:
            for row_id, work in good.items():
                _keep(intake, {row_id: work}, result)
        else:
            log.exception("the quarantined message %s cannot be kept", *good)
            result.refused.extend((row_id, "the platform failed on it; see its log") for row_id in good)
        return
    for row_id, work in good.items():
        decoded = work.decoded
        reasons = [rejected.reason for rejected in decoded.rejected]
        reasons += [refused[key] for r in decoded.readings if (key := (r.device_id, r.time)) in refused]
        kept = len(decoded.readings) + len(decoded.rejected) - len(reasons)
        result.readings += kept
        result.accepted += kept > 0
        if reasons:
            result.refused.append((row_id, reasons[0]))


def _mark(session: Session, ids: list[int]) -> None:
    session.exec(update(QuarantinedReading).where(col(QuarantinedReading.id).in_(ids)).values(replayed_at=utc_now()))


def _message(row: QuarantinedReading) -> Message:
    return Message(
        topic=row.topic,
        payload=row.payload,
        received_at=microseconds(row.received_at),
        redelivered=False,
        packet_id=0,
        connection=0,
    )
