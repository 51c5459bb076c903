"""When devices were last heard: noted in memory with every batch, kept in the database every few seconds."""

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, select

from storage.last_seen import DeviceLastSeen
from storage.telemetry import Reading
from storage.times import microseconds, moment

# The newest reading's time of each device, in microseconds.
Newest = Mapping[str, int]

# Ages instead of moments: the database's clock is the one that all ingesters share.
_KEEP = text("""
INSERT INTO device_presence AS p (device_id, heard_at, newest_reading)
SELECT device_id, clock_timestamp() - age * interval '1 microsecond', newest
FROM unnest(CAST(:devices AS text[]), CAST(:ages AS int8[]), CAST(:newest AS timestamptz[]))
  AS d (device_id, age, newest)
ORDER BY device_id
ON CONFLICT (device_id) DO UPDATE SET
    heard_at = greatest(p.heard_at, excluded.heard_at),
    newest_reading = greatest(p.newest_reading, excluded.newest_reading)
""")


class LastSeen:
    """What one ingester knows of it."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self._heard: dict[str, int] = {}
        self._lock = threading.Lock()

    def load(self, session: Session) -> None:
        """Begin with what the database knows."""
        rows = session.exec(select(DeviceLastSeen.device_id, DeviceLastSeen.newest_reading))
        self.newest = {device_id: microseconds(newest) for device_id, newest in rows}

    def note(self, readings: Iterable[Reading]) -> None:
        """These are stored and judged."""
        with self._lock:
            for reading in readings:
                device_id = reading.device_id
                self._heard[device_id] = reading.received_at
                if reading.time > self.newest.get(device_id, -1):
                    self.newest[device_id] = reading.time

    def keep(self, session: Session) -> None:
        """Write down who was heard since the last time, and commit."""
        with self._lock:
            heard, self._heard = self._heard, {}
        if not heard:
            return
        now = time.time_ns() // 1000
        columns: dict[str, list[Any]] = {
            "devices": list(heard),
            "ages": [max(0, now - received_at) for received_at in heard.values()],
            "newest": [moment(self.newest[device_id]) for device_id in heard],
        }
        try:
            session.execute(_KEEP, columns)
            session.commit()
        except BaseException:
            with self._lock:
                self._heard = heard | self._heard
            raise
