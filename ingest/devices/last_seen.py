"""When devices were last seen: recorded in memory with every batch, and saved to the database every few seconds."""

import threading
import time
from collections.abc import Iterable, Mapping

from sqlmodel import Session

from storage.last_seen import newest_readings, save_last_seen
from storage.telemetry import Reading

# The newest reading's time of each device, in microseconds.
Newest = Mapping[str, int]


class LastSeen:
    """What one ingester knows of it. Times are in microseconds."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self._received_at: dict[str, int] = {}  # of devices that are to be saved
        self._lock = threading.Lock()

    def load(self, session: Session) -> None:
        """Start with what the database knows."""
        self.newest = newest_readings(session)

    def record(self, readings: Iterable[Reading]) -> None:
        """Record readings that are stored and evaluated."""
        with self._lock:
            for reading in readings:
                device_id = reading.device_id
                self._received_at[device_id] = reading.received_at
                if reading.time > self.newest.get(device_id, -1):
                    self.newest[device_id] = reading.time

    def record_retained(self, readings: Iterable[Reading]) -> None:
        """Record readings that the broker had retained: they say nothing about when their device was last seen."""
        with self._lock:
            for reading in readings:
                self.newest[reading.device_id] = max(reading.time, self.newest.get(reading.device_id, -1))

    def save(self, session: Session) -> None:
        """Write what was recorded since the last call to the database, and commit."""
        with self._lock:
            received_at, self._received_at = self._received_at, {}
        if not received_at:
            return
        now = time.time_ns() // 1000
        try:
            save_last_seen(session, {d: max(0, now - received) for d, received in received_at.items()}, self.newest)
            session.commit()
        except BaseException:
            with self._lock:
                self._received_at = received_at | self._received_at
            raise
