"""The bound on how many metrics a device can have: each is a column of answers, files and statistics."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine
from sqlmodel import Session

from storage.device_metrics import add_dropped, add_metrics
from storage.devices import NAMED_METRICS
from storage.telemetry import Reading


@dataclass(frozen=True)
class Excess:
    """What `MetricNames.limit` dropped: the number of values, and readings that would have had no other."""

    values: int = 0
    readings: list[Reading] = field(default_factory=list)


NOTHING = Excess()


class MetricNames:
    """The metrics that devices may send, as far as this process knows; the database knows all of them.

    The four named metrics are always accepted. Others are accepted until the device has as many as the limit.
    """

    def __init__(self, engine: Engine | Connection, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self._known: dict[str, set[str]] = {}

    def reason(self, reading: Reading) -> str:
        """Why a reading without any other metric is refused."""
        names = ", ".join(list(reading.metrics)[:5])
        return f"{names}: the device already has {self._limit} other metrics (MAX_METRICS_PER_DEVICE)"

    def limit(self, readings: Sequence[Reading]) -> Excess:
        """Drop metrics beyond the limit from the readings, in place. It asks the database only about new names.

        Readings that would have no metric left are returned and stay as they are.
        """
        known = self._known
        with_new = [r for r in readings if (names := known.get(r.device_id)) is None or not r.metrics.keys() <= names]
        if not with_new:
            return NOTHING
        new: dict[str, dict[str, None]] = {}
        for reading in with_new:
            candidates = self._candidates(reading)
            if candidates:
                new.setdefault(reading.device_id, {}).update(dict.fromkeys(candidates))
        with Session(self._engine) as session:
            learned = add_metrics(session, new, self._limit) if new else {}
            dropped: dict[str, Counter[str]] = {}
            for reading in with_new:
                names = learned.get(reading.device_id) or known[reading.device_id]
                if excess := [name for name in reading.metrics if name not in names]:
                    dropped.setdefault(reading.device_id, Counter()).update(excess)
            if dropped:
                add_dropped(session, dropped)
            session.commit()
        known.update(learned)
        return self._without_excess(with_new) if dropped else NOTHING

    def _candidates(self, reading: Reading) -> list[str]:
        """The names that the database is asked about."""
        names = self._known.get(reading.device_id)
        if names is None:
            return list(reading.metrics)
        is_full = len(names) >= self._limit
        return [n for n in reading.metrics if n not in names and (not is_full or n in NAMED_METRICS)]

    def _without_excess(self, readings: Sequence[Reading]) -> Excess:
        values, emptied = 0, []
        for reading in readings:
            names = self._known[reading.device_id]
            kept = {name: value for name, value in reading.metrics.items() if name in names}
            values += len(reading.metrics) - len(kept)
            if not kept:
                emptied.append(reading)
            else:
                reading.metrics = kept
                reading.out_of_band = reading.out_of_band and [n for n in reading.out_of_band if n in names]
        return Excess(values, emptied)
