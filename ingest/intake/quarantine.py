"""Replay of the quarantine: another try for what was refused, after a device, its limits or the platform was corrected.

Each payload is decoded as if it came now, but keeps the time at which it was received. Intake itself then keeps it:
telemetry first, and the row's `replayed_at` in the transaction that follows. Its alerts are raised, and notifications
are sent if the readings are young enough. It is not published on its topic again, because that would change the time of
receipt and add another row if it is refused.

A row stays as it is if none of its readings is accepted. Otherwise it is marked as replayed, and its other items become
rows of their own. A crash at any point is harmless: a row that is not marked is replayed again, which changes nothing.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import paho.mqtt.client as mqtt
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import Session

from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake.intake import DecodedMessage, Intake
from ingest.metrics import IngestMetrics
from ingest.mqtt.subscription import Message
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from storage.quarantine import QuarantinedReading, try_lock_replay, waiting_rows
from storage.settings import Settings
from storage.telemetry import StoreUnavailable, TelemetryStore
from storage.times import microseconds

log = logging.getLogger(__name__)

# Rows that are kept together. A payload may have a quarter of a megabyte.
PAGE = 50
MAX_REPLAYED = 10_000

STORE_ERRORS = (StoreUnavailable, OperationalError, InterfaceError)


class ReplayRunning(Exception):
    """Another replay is running; a second one would only do everything twice."""


@dataclass
class Replayed:
    """What became of the rows. `accepted` rows had a reading that was kept; `refused` has ids and today's reasons.

    `stopped` is why the rows after `last_id` were not tried, if they were not.
    """

    tried: int = 0
    last_id: int = 0
    accepted: int = 0
    readings: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    stopped: str | None = None


def replay(settings: Settings, engine: Engine, store: TelemetryStore, ids: Sequence[int]) -> Replayed:
    """Try rows again, in the given order; rows that were replayed already are left out.

    Raises:
        ReplayRunning: another process or request is replaying.
        StoreUnavailable, sqlalchemy.exc.OperationalError: a store did not answer, before anything was done.

    """
    with Session(engine) as lock:
        if not try_lock_replay(lock):
            raise ReplayRunning("another replay is running; try again when it has ended")
        intake = _open_intake(settings, engine, store)
        result = Replayed()
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            try:
                with Session(engine) as session:
                    rows = waiting_rows(session, page)
                _replay_rows(intake, settings.mqtt_topic, rows, result)
            except STORE_ERRORS as error:
                if not start:
                    raise
                result.stopped = f"a store does not answer: {str(error).splitlines()[0]}"
                break
            result.tried += len(page)
            result.last_id = page[-1]
        return result


def _open_intake(settings: Settings, engine: Engine, store: TelemetryStore) -> Intake:
    """An intake like an ingester's, without a live stream; its metrics are not published."""
    registry, last_seen = Registry(settings, engine), LastSeen()
    registry.load()
    with Session(engine) as session:
        last_seen.load(session)
    raiser = AlertRaiser(registry, last_seen, Outbox(NotifySettings.load()))
    return Intake(settings.mqtt_topic, store, engine, registry, IngestMetrics(), raiser=raiser)


def _replay_rows(intake: Intake, topic_filter: str, rows: Sequence[QuarantinedReading], result: Replayed) -> None:
    """Decode rows and keep those that hold a reading."""
    decoded: dict[int, DecodedMessage] = {}
    for row in rows:
        assert row.id is not None  # noqa: S101 - it was read from the database
        if not mqtt.topic_matches_sub(topic_filter, row.topic):
            result.refused.append((row.id, f"the topic {row.topic} does not match MQTT_TOPIC={topic_filter}"))
            continue
        item = intake.decode(_message(row))
        if item.decoded.readings:
            decoded[row.id] = item
        else:
            reason = item.decoded.rejected[0].reason if item.items else "the message is empty"
            result.refused.append((row.id, reason))
    if decoded:
        _keep(intake, decoded, result)


def _keep(intake: Intake, decoded: Mapping[int, DecodedMessage], result: Replayed) -> None:
    """Commit messages together; if that fails, commit them one by one to find the one that fails."""
    try:
        refused = intake.commit(list(decoded.values()), replayed=list(decoded))
    except STORE_ERRORS:
        raise
    except Exception:
        if len(decoded) > 1:
            for row_id, item in decoded.items():
                _keep(intake, {row_id: item}, result)
        else:
            log.exception("failed to keep the quarantined message %s", *decoded)
            result.refused.extend((row_id, "the platform failed on it; see its log") for row_id in decoded)
        return
    for row_id, item in decoded.items():
        reasons = [rejected.reason for rejected in item.decoded.rejected]
        reasons += [refused[key] for r in item.decoded.readings if (key := (r.device_id, r.time)) in refused]
        kept = item.items - len(reasons)
        result.readings += kept
        result.accepted += kept > 0
        if reasons:
            result.refused.append((row_id, reasons[0]))


def _message(row: QuarantinedReading) -> Message:
    return Message(
        topic=row.topic,
        payload=row.payload,
        received_at=microseconds(row.received_at),
        redelivered=False,
        packet_id=0,
        connection=0,
    )
