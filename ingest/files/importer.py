"""Storing a file's rows as readings, a thousand at a time. History raises no alerts."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from sqlmodel import Session

from ingest.devices.metric_names import MetricNames
from ingest.devices.profile import UNREGISTERED, DeviceProfile, profile_of
from ingest.files.mapping import FileMapping
from ingest.files.rows import Row
from ingest.files.survey import Survey
from ingest.files.times import LocalTimes, UnreadableTime
from ingest.intake.decode import Decoded, Rejected, decode_items, is_identifier
from ingest.intake.excess import drop_excess
from ingest.intake.intake import quarantined
from storage import dirty_days
from storage.devices import NAMED_METRICS, all_devices
from storage.quarantine import add_quarantined
from storage.telemetry import Reading, TelemetryStore
from storage.times import microseconds, moment, utc_now

CHUNK_ROWS = 1000
MAX_SHOWN_ID = 60


@dataclass
class Imported:
    """What became of a file's rows: `rows` = `stored` + `quarantined` + `skipped`, which have no value.

    `dropped` values are texts of InfluxDB's fields, ignored by the device's metadata, beyond ±1e12, or of more metrics
    than a device can have.
    """

    rows: int = 0
    stored: int = 0
    quarantined: int = 0
    skipped: int = 0
    dropped: int = 0
    first_reason: str | None = None
    devices: set[str] = field(default_factory=set)
    unregistered: list[str] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None


class Importer:
    """Imports the rows of one file. Importing the same rows again changes nothing."""

    def __init__(
        self, mapping: FileMapping, telemetry: TelemetryStore, session: Session, *, max_metrics: int, survey: Survey
    ) -> None:
        self._mapping = mapping
        self._names = MetricNames(session.get_bind(), max_metrics)
        self._telemetry = telemetry
        self._session = session
        self._survey = survey
        self._profiles = {device.device_id: profile_of(device) for device in all_devices(session)}
        self._local: dict[tuple[str, str], LocalTimes] = {}
        self._result = Imported()

    def run(self, rows: Iterable[Row], progress: Callable[[int], None]) -> Imported:
        """Store the rows, and commit after each thousand; `progress` is called with the number of rows each time.

        Raises:
            FileRefused: the file cannot be read any further; what came before is kept.

        """
        for chunk in _chunks(rows):
            self._store(chunk)
            progress(len(chunk))
        self._result.unregistered = sorted(self._result.devices - self._profiles.keys())
        return self._result

    def _store(self, rows: Sequence[Row]) -> None:
        received_at = microseconds(utc_now())
        items: dict[str, list[dict[str, Any]]] = {}
        rejected: list[Rejected] = []
        skipped = 0
        for row in rows:
            device_id = self._mapping.device_of(row.values)
            try:
                item = self._item(row, device_id)
            except _Unusable as unusable:
                rejected.append(self._rejected(row.values, device_id, unusable))
                continue
            if item is None:
                skipped += 1
            else:
                items.setdefault(device_id, []).append(item)
        readings: list[Reading] = []
        batch: list[tuple[str, Decoded]] = []
        for device_id, of_device in items.items():
            profile: DeviceProfile = self._profiles.get(device_id, UNREGISTERED)
            topic = f"import/{device_id}"
            batch.append((topic, decode_items(topic, device_id, of_device, received_at, profile)))
        self._result.dropped += drop_excess(self._names, batch)
        for _, decoded in batch:
            readings += decoded.readings
            rejected += decoded.rejected
            self._result.dropped += decoded.ignored
        refused = self._telemetry.write(readings)
        rejected += [Rejected(f"import/{r.reading.device_id}", r.reading.device_id, b"", r.reason) for r in refused]
        add_quarantined(self._session, [quarantined(item, utc_now()) for item in rejected])
        dirty_days.mark_dirty(self._session, ((r.device_id, r.time) for r in readings))
        self._session.commit()
        self._count(len(rows), readings, rejected, skipped)

    def _item(self, line: Row, device_id: str) -> dict[str, Any] | None:
        """The reading as a device would have sent it; None if the row has no value."""
        row = line.values
        item: dict[str, Any] = {}
        for metric, column, raw in self._mapping.values_of(row):
            try:
                number = self._mapping.numbers.parse(raw)
            except ValueError as error:
                if self._mapping.takes_all_fields and metric not in NAMED_METRICS:
                    self._result.dropped += 1  # a text field of InfluxDB, such as a state, is not a metric
                    continue
                raise _Unusable(f"{metric}: {error}", metric) from None
            if number is not None:
                item[metric] = number * column.factor + column.offset
        if not item:
            return None
        if not is_identifier(device_id):
            raise _Unusable(f"the device id {device_id!r:.60} is not valid. Use at most 50 letters, digits, _ . and -")
        try:
            time = self._mapping.times.parse(row.get(self._mapping.time))
            item["timestamp"] = self._moment(time, self._mapping.series_of(row), line.number)
        except UnreadableTime as error:
            raise _Unusable(str(error)) from None
        return item

    def _moment(self, time: float | datetime, series: tuple[str, str], line: int) -> float | str:
        if not isinstance(time, datetime):
            return time
        if time.tzinfo is not None:
            return time.isoformat()
        zone = self._mapping.times.zone
        if zone is None:
            raise UnreadableTime(f"timestamp {time} has no offset; set --timezone")
        local = self._local.get(series)
        if local is None:
            halves = self._survey.halves.get(series, ())
            local = self._local[series] = LocalTimes(zone, descending=self._survey.descending, halves=halves)
        return local.resolve(time, line).isoformat()

    def _rejected(self, row: Mapping[str, Any], device_id: str, unusable: "_Unusable") -> Rejected:
        raw = {metric: value for metric, _, value in self._mapping.values_of(row)}
        payload = json.dumps({"timestamp": row.get(self._mapping.time), **raw}, default=str).encode()
        if is_identifier(device_id):
            return Rejected(f"import/{device_id}", device_id, payload, unusable.reason, unusable.metric)
        shown = repr(device_id)[1:-1][:MAX_SHOWN_ID]  # the database stores no NUL
        return Rejected(f"import/{shown}", None, payload, unusable.reason, unusable.metric)

    def _count(self, rows: int, readings: list[Reading], rejected: list[Rejected], skipped: int) -> None:
        result = self._result
        result.rows += rows
        result.quarantined += len(rejected)
        result.skipped += skipped
        result.stored += rows - len(rejected) - skipped
        result.first_reason = result.first_reason or (rejected[0].reason if rejected else None)
        result.devices |= {reading.device_id for reading in readings}
        for reading in readings:
            time = moment(reading.time)
            result.first = min(result.first or time, time)
            result.last = max(result.last or time, time)


class _Unusable(Exception):
    """A row that is not a reading, with the reason."""

    def __init__(self, reason: str, metric: str | None = None) -> None:
        self.reason = reason
        self.metric = metric


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield chunk
