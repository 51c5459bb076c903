"""History brought in from files: rows of a CSV or Parquet file become readings, or are quarantined with the reason.

They pass the same seam as MQTT's payloads, so the same limits hold. No rules are evaluated: history raises no alerts.
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
from sqlmodel import Session, select

from ingest.devices.profile import UNREGISTERED, DeviceProfile, profile_of
from ingest.intake.decode import MAX_ITEMS, Rejected, decode
from storage import dirty_days
from storage.devices import IDENTIFIER, MAX_IDENTIFIER, METRIC, NAMED_METRICS, Device
from storage.quarantine import QuarantinedReading
from storage.telemetry import Reading, TelemetryStore
from storage.times import microseconds, moment, utc_now

# From a file's unit to the platform's: (factor, offset added after it).
CONVERSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "voltage": {"V": (1, 0), "mV": (1e-3, 0), "kV": (1e3, 0)},
    "current": {"A": (1, 0), "mA": (1e-3, 0), "kA": (1e3, 0)},
    "power": {"W": (1, 0), "kW": (1e3, 0), "MW": (1e6, 0)},
    "temperature": {"C": (1, 0), "°C": (1, 0), "K": (1, -273.15), "F": (5 / 9, -160 / 9), "°F": (5 / 9, -160 / 9)},
}
PARQUET = (".parquet", ".pq")
OTHER_SEPARATORS = (";", "\t")
TIME_UNITS = {"s": 1e3, "ms": 1.0, "us": 1e-3}


class FileRefused(Exception):
    """A file cannot be brought in as it was asked for; the message says how to mend it."""


@dataclass(frozen=True)
class Column:
    """Where a metric is in the file, and how its numbers become the platform's unit."""

    name: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Mapped:
    """How a file is to be read: one device for all rows, or a column that names it; `zone` of times without offset."""

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
    """`power=P_total:kW` as a command line says it: the metric, the file's column, its unit if it is another.

    Raises:
        FileRefused: it cannot be read, or the unit is none of the metric's.

    """
    metric, equals, rest = text.partition("=")
    if not re.fullmatch(METRIC, metric) or not equals or not rest:
        raise FileRefused(f"{text!r} is no mapping; write metric=column or metric=column:unit, such as power=P:kW")
    column, colon, unit = rest.rpartition(":")
    if not colon:
        return metric, Column(rest)
    units = CONVERSIONS.get(metric, {})
    if unit not in units:
        known = ", ".join(units) or "none, since it is kept in the device's own unit"
        raise FileRefused(f"{text!r}: {unit!r} is no unit of {metric}; there is {known}")
    return metric, Column(column, *units[unit])


def guessed_metrics(columns: list[str]) -> dict[str, Column]:
    """The named metrics that the file has under their own names."""
    return {name: Column(name) for name in NAMED_METRICS if name in columns}


def batches(path: Path) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """A file's columns, and its rows piece by piece.

    Raises:
        FileRefused: it is not there, or is none of the two.

    """
    try:
        if path.suffix.lower() in PARQUET:
            parquet = pq.ParquetFile(path)
            return parquet.schema_arrow.names, parquet.iter_batches(MAX_ITEMS * 20)
        # Everything as text: what is no number or no time is then one bad row, not a file that cannot be read.
        names = csv.open_csv(path).schema.names
        if any(separator in names[0] for separator in OTHER_SEPARATORS):
            raise FileRefused(f"{path}: its columns are not separated by commas: {names[0]}")
        texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
        return names, iter(csv.open_csv(path, convert_options=texts))
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise FileRefused(f"{path} cannot be read as CSV (commas, UTF-8) or Parquet: {error}") from None


def count_rows(path: Path) -> int:
    """How many rows there are, for the progress; of a CSV file its lines without the header."""
    if path.suffix.lower() in PARQUET:
        return int(pq.ParquetFile(path).metadata.num_rows)
    with path.open("rb") as lines:
        return max(sum(1 for _ in lines) - 1, 0)


def bring_in(
    path: Path, mapped: Mapped, telemetry: TelemetryStore, session: Session, progress: Callable[[int], None]
) -> Imported:
    """Store a file's rows as readings; commits piece by piece. Brought in again, the same rows change nothing.

    Raises:
        FileRefused: a column that is asked for is not there, or times have no offset and no zone is given.

    """
    names, pieces = batches(path)
    check(mapped, names)
    facts = {device.device_id: profile_of(device) for device in session.exec(select(Device))}
    done = Imported()
    clock = _Clock(mapped)
    try:
        for piece in pieces:
            for start in range(0, len(piece), MAX_ITEMS):
                rows = piece.slice(start, MAX_ITEMS).to_pylist()
                _store(rows, mapped, clock=clock, facts=facts, telemetry=telemetry, session=session, done=done)
                progress(len(rows))
    except pa.ArrowInvalid as error:
        raise FileRefused(f"{path} is broken after {done.rows} rows, which are stored: {error}") from None
    done.unregistered = sorted(done.devices - facts.keys())
    return done


def check(mapped: Mapped, names: list[str]) -> None:
    """Let a mapping pass that fits a file's columns.

    Raises:
        FileRefused: a column is not there or twice, nothing is mapped, or the unit of time is none.

    """
    wanted = [mapped.time, *(column.name for column in mapped.metrics.values())]
    wanted += [mapped.device_column] if mapped.device_column else []
    missing = [name for name in wanted if name not in names]
    if missing:
        raise FileRefused(f"there is no column {', '.join(missing)}; the file has {', '.join(names)}")
    if double := next((name for name in wanted if names.count(name) > 1), None):
        raise FileRefused(f"{double} is the name of two columns; rename one")
    if not mapped.metrics:
        raise FileRefused(f"no column is named like a metric ({', '.join(names)}); map them: --map power=P_total:kW")
    if mapped.time_unit not in TIME_UNITS:
        raise FileRefused(f"{mapped.time_unit!r} is no unit of time; there is {', '.join(TIME_UNITS)}")


def _store(
    rows: list[dict[str, Any]],
    mapped: Mapped,
    *,
    clock: "_Clock",
    facts: Mapping[str, DeviceProfile],
    telemetry: TelemetryStore,
    session: Session,
    done: Imported,
) -> None:
    received_at = microseconds(utc_now())
    of_device: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        device_id = mapped.device_id or str(row[mapped.device_column or ""] or "")
        item = {metric: _number(row[column.name], column) for metric, column in mapped.metrics.items()}
        item["timestamp"] = clock.read(row[mapped.time], device_id)
        of_device.setdefault(device_id, []).append(item)
    readings: list[Reading] = []
    rejected: list[Rejected] = []
    for device_id, items in of_device.items():
        payload = msgspec.json.encode(items)
        decoded = decode(f"import/{device_id}", device_id, payload, received_at, lambda d: facts.get(d, UNREGISTERED))
        readings += decoded.readings
        # A device id that is none refuses the array as a whole.
        whole = len(decoded.rejected) == 1 and len(items) > 1 and not decoded.readings
        rejected += decoded.rejected * len(items) if whole else decoded.rejected
    refused = telemetry.write(readings)
    rejected += [Rejected(f"import/{r.reading.device_id}", r.reading.device_id, b"", r.reason) for r in refused]
    session.add_all(
        QuarantinedReading(
            device_id=r.device_id, topic=r.topic, payload=r.payload, reason=r.reason, metric=r.metric
        )
        for r in rejected
    )  # fmt: skip
    dirty_days.mark_dirty(session, ((r.device_id, r.time) for r in readings))
    session.commit()
    _count(done, len(rows), readings, len(rejected))


def _count(done: Imported, rows: int, readings: list[Reading], rejected: int) -> None:
    done.rows += rows
    done.quarantined += rejected
    done.stored += rows - rejected
    done.devices |= {r.device_id for r in readings}
    for r in readings:
        at = moment(r.time)
        done.first = min(done.first or at, at)
        done.last = max(done.last or at, at)


def _number(value: Any, column: Column) -> Any:
    """The value in the platform's unit; what is no number stays as it is, for the reason of its quarantine."""
    if value is None or value == "":
        return None
    try:
        return float(value) * column.factor + column.offset
    except (TypeError, ValueError):
        return value


class _Clock:
    """Reads a file's times; in the hour that a zone repeats in autumn, a time that goes back is its second half."""

    def __init__(self, mapped: Mapped) -> None:
        self._zone = mapped.zone
        self._milliseconds = TIME_UNITS[mapped.time_unit]
        self._last: dict[str, datetime] = {}

    def read(self, value: Any, device_id: str) -> Any:
        """ISO 8601 with an offset; what cannot be read stays as it is, for the reason of its quarantine."""
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
            raise FileRefused(f"the time {value} has no offset; give --timezone, such as Europe/Paris or UTC")
        at = value.replace(tzinfo=self._zone)
        earlier = self._last.get(device_id)
        if earlier and at.astimezone(UTC) <= earlier:
            later = at.replace(fold=1)
            at = later if later.astimezone(UTC) - at.astimezone(UTC) > timedelta(0) else at
        if at.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != value:
            return f"{value} (which {self._zone.key} skips)"
        self._last[device_id] = at.astimezone(UTC)
        return at.isoformat()


def is_identifier(text: str) -> bool:
    return len(text) <= MAX_IDENTIFIER and re.fullmatch(IDENTIFIER, text) is not None
