"""Import of history: rows of a CSV or Parquet file become readings, or are quarantined with the reason.

Rows are decoded like MQTT payloads, so the same limits apply. No rules are evaluated: history raises no alerts.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv
from sqlmodel import Session

from ingest.devices.profile import UNREGISTERED, DeviceProfile, profile_of
from ingest.intake.decode import MAX_ITEMS, Rejected, decode_payload
from storage import dirty_days
from storage.devices import IDENTIFIER, MAX_IDENTIFIER, METRIC, NAMED_METRICS, all_devices
from storage.quarantine import QuarantinedReading, add_quarantined
from storage.telemetry import Reading, TelemetryStore
from storage.times import microseconds, moment, utc_now

# From a file's unit to the platform's: multiply by the first number, then add the second.
CONVERSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "voltage": {"V": (1, 0), "mV": (1e-3, 0), "kV": (1e3, 0)},
    "current": {"A": (1, 0), "mA": (1e-3, 0), "kA": (1e3, 0)},
    "power": {"W": (1, 0), "kW": (1e3, 0), "MW": (1e6, 0)},
    "temperature": {"C": (1, 0), "°C": (1, 0), "K": (1, -273.15), "F": (5 / 9, -160 / 9), "°F": (5 / 9, -160 / 9)},
}
PARQUET_SUFFIXES = (".parquet", ".pq")
OTHER_SEPARATORS = (";", "\t")
MILLISECONDS_PER_UNIT = {"s": 1e3, "ms": 1.0, "us": 1e-3}


class FileRefused(Exception):
    """A file cannot be imported as asked; the message says what to change."""


@dataclass(frozen=True)
class Column:
    """The file's column of a metric, and how to convert its numbers to the platform's unit."""

    name: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class FileMapping:
    """How to read a file: its device or the column that names it, and the `zone` of times without an offset."""

    metrics: dict[str, Column]
    time: str = "timestamp"
    time_unit: str = "ms"
    zone: ZoneInfo | None = None
    device_id: str | None = None
    device_column: str | None = None


@dataclass
class Imported:
    """What became of a file's rows: `rows` = `stored` + `quarantined`."""

    rows: int = 0
    stored: int = 0
    quarantined: int = 0
    devices: set[str] = field(default_factory=set)
    unregistered: list[str] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None


def metric_column(text: str) -> tuple[str, Column]:
    """Parse `metric=column` or `metric=column:unit`, such as `power=P_total:kW`.

    Raises:
        FileRefused: the text has another form, or the metric does not have the unit.

    """
    metric, equals, rest = text.partition("=")
    if not re.fullmatch(METRIC, metric) or not equals or not rest:
        raise FileRefused(f"{text!r} is not a mapping; write metric=column or metric=column:unit, such as power=P:kW")
    column, colon, unit = rest.rpartition(":")
    if not colon:
        return metric, Column(rest)
    units = CONVERSIONS.get(metric, {})
    if unit not in units:
        if not units:
            raise FileRefused(f"{text!r}: {metric} is kept in the device's own unit; leave out :{unit}")
        raise FileRefused(f"{text!r}: {unit!r} is not a unit of {metric}; choose from {', '.join(units)}")
    return metric, Column(column, *units[unit])


def default_metrics(columns: list[str]) -> dict[str, Column]:
    """The named metrics whose names are columns of the file."""
    return {name: Column(name) for name in NAMED_METRICS if name in columns}


def batches(path: Path) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """A file's columns, and its rows in batches.

    Raises:
        FileRefused: the file cannot be read, or is neither CSV nor Parquet.

    """
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            parquet = pq.ParquetFile(path)
            return parquet.schema_arrow.names, parquet.iter_batches(MAX_ITEMS * 20)
        # Everything is read as text, so that a value that cannot be parsed is one bad row, not a bad file.
        names = csv.open_csv(path).schema.names
        if any(separator in names[0] for separator in OTHER_SEPARATORS):
            raise FileRefused(f"{path}: its columns are not separated by commas: {names[0]}")
        texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
        return names, iter(csv.open_csv(path, convert_options=texts))
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise FileRefused(f"{path} cannot be read as CSV (commas, UTF-8) or Parquet: {error}") from None


def count_rows(path: Path) -> int:
    """How many rows a file has, for the progress bar; for a CSV file its lines without the header."""
    if path.suffix.lower() in PARQUET_SUFFIXES:
        return int(pq.ParquetFile(path).metadata.num_rows)
    with path.open("rb") as lines:
        return max(sum(1 for _ in lines) - 1, 0)


def import_file(
    path: Path, mapping: FileMapping, telemetry: TelemetryStore, session: Session, progress: Callable[[int], None]
) -> Imported:
    """Store a file's rows as readings, and commit after each thousand. Importing the same rows again changes nothing.

    `progress` is called with the number of rows after each thousand.

    Raises:
        FileRefused: a column is missing, or times have no offset and no zone is given.

    """
    names, record_batches = batches(path)
    check(mapping, names)
    profiles = {device.device_id: profile_of(device) for device in all_devices(session)}
    result = Imported()
    clock = _Clock(mapping)
    try:
        for batch in record_batches:
            for start in range(0, len(batch), MAX_ITEMS):
                rows = batch.slice(start, MAX_ITEMS).to_pylist()
                _store(
                    rows, mapping, clock=clock, profiles=profiles, telemetry=telemetry, session=session, result=result
                )
                progress(len(rows))
    except pa.ArrowInvalid as error:
        raise FileRefused(f"{path} cannot be read after row {result.rows}; rows up to it are kept: {error}") from None
    result.unregistered = sorted(result.devices - profiles.keys())
    return result


def check(mapping: FileMapping, names: list[str]) -> None:
    """Check that a mapping fits a file's columns.

    Raises:
        FileRefused: a column is missing or ambiguous, no metric is mapped, or the unit of time is unknown.

    """
    wanted = [mapping.time, *(column.name for column in mapping.metrics.values())]
    wanted += [mapping.device_column] if mapping.device_column else []
    missing = [name for name in wanted if name not in names]
    if missing:
        raise FileRefused(f"there is no column {', '.join(missing)}; the file has {', '.join(names)}")
    if duplicate := next((name for name in wanted if names.count(name) > 1), None):
        raise FileRefused(f"two columns are named {duplicate}; rename one")
    if not mapping.metrics:
        raise FileRefused(f"no column is named like a metric ({', '.join(names)}); map them: --map power=P_total:kW")
    if mapping.time_unit not in MILLISECONDS_PER_UNIT:
        raise FileRefused(
            f"{mapping.time_unit!r} is not a unit of time; choose from {', '.join(MILLISECONDS_PER_UNIT)}"
        )


def _store(
    rows: list[dict[str, Any]],
    mapping: FileMapping,
    *,
    clock: "_Clock",
    profiles: Mapping[str, DeviceProfile],
    telemetry: TelemetryStore,
    session: Session,
    result: Imported,
) -> None:
    received_at = microseconds(utc_now())
    of_device: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        device_id = mapping.device_id or str(row[mapping.device_column or ""] or "")
        item = {metric: _number(row[column.name], column) for metric, column in mapping.metrics.items()}
        item["timestamp"] = clock.read(row[mapping.time], device_id)
        of_device.setdefault(device_id, []).append(item)
    readings: list[Reading] = []
    rejected: list[Rejected] = []
    for device_id, items in of_device.items():
        payload = msgspec.json.encode(items)
        profile = profiles.get(device_id, UNREGISTERED)
        decoded = decode_payload(f"import/{device_id}", device_id, payload, received_at, profile)
        readings += decoded.readings
        # With a device id that is not valid, the whole array is one rejected item.
        as_a_whole = len(decoded.rejected) == 1 and len(items) > 1 and not decoded.readings
        rejected += decoded.rejected * len(items) if as_a_whole else decoded.rejected
    refused = telemetry.write(readings)
    rejected += [Rejected(f"import/{r.reading.device_id}", r.reading.device_id, b"", r.reason) for r in refused]
    add_quarantined(
        session,
        [
            QuarantinedReading(
                device_id=r.device_id, topic=r.topic, payload=r.payload, reason=r.reason, metric=r.metric
            )
            for r in rejected
        ],
    )
    dirty_days.mark_dirty(session, ((r.device_id, r.time) for r in readings))
    session.commit()
    _count(result, len(rows), readings, len(rejected))


def _count(result: Imported, rows: int, readings: list[Reading], rejected: int) -> None:
    result.rows += rows
    result.quarantined += rejected
    result.stored += rows - rejected
    result.devices |= {reading.device_id for reading in readings}
    for reading in readings:
        time = moment(reading.time)
        result.first = min(result.first or time, time)
        result.last = max(result.last or time, time)


def _number(value: Any, column: Column) -> Any:
    """The value in the platform's unit. A value that is not a number is returned as it is, to be quarantined."""
    if value is None or value == "":
        return None
    try:
        return float(value) * column.factor + column.offset
    except (TypeError, ValueError):
        return value


class _Clock:
    """Parses a file's times. In the hour that repeats in autumn, a time that goes back belongs to its second half."""

    def __init__(self, mapping: FileMapping) -> None:
        self._zone = mapping.zone
        self._milliseconds = MILLISECONDS_PER_UNIT[mapping.time_unit]
        self._last: dict[str, datetime] = {}

    def read(self, value: Any, device_id: str) -> Any:
        """The time as ISO 8601 with an offset or as milliseconds; one that cannot be parsed is returned as it is."""
        if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
            value = float(value)
        if isinstance(value, int | float):
            return value * self._milliseconds
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                return value
        if not isinstance(value, datetime):
            return str(value) if value is not None else None
        if value.tzinfo is not None:
            return value.isoformat()
        return self._local(value, device_id)

    def _local(self, value: datetime, device_id: str) -> str:
        if self._zone is None:
            raise FileRefused(f"the time {value} has no offset; set --timezone, such as Europe/Paris or UTC")
        local = value.replace(tzinfo=self._zone)
        previous = self._last.get(device_id)
        if previous and local.astimezone(UTC) <= previous:
            second_half = local.replace(fold=1)
            local = second_half if second_half.astimezone(UTC) - local.astimezone(UTC) > timedelta(0) else local
        if local.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != value:
            return f"{value} (which {self._zone.key} skips)"
        self._last[device_id] = local.astimezone(UTC)
        return local.isoformat()


def is_identifier(text: str) -> bool:
    return len(text) <= MAX_IDENTIFIER and re.fullmatch(IDENTIFIER, text) is not None
