"""A first look at a whole file, before anything is stored: whether rows are complete and the options fit it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ingest.files.mapping import FIELD, VALUE, FileMapping
from ingest.files.repeated_hours import RepeatedHours
from ingest.files.rows import FileRefused, Row
from ingest.files.times import Half, UnreadableTime, unit_hint
from ingest.files.values import has_decimal_comma, has_decimal_point
from storage.times import utc_now

# As many rows show how a file writes times and numbers, and whether it descends.
SAMPLE_ROWS = 1000


@dataclass(frozen=True)
class Survey:
    """How many rows a file has, and whether its times descend.

    `halves` are those of the repeated hours in autumn, by device and InfluxDB's field.
    """

    rows: int
    descending: bool
    halves: Mapping[tuple[str, str], Sequence[Half]]

    @property
    def ambiguous_lines(self) -> list[int]:
        """Where the file does not show in which half of a repeated hour rows are."""
        halves = (half for series in self.halves.values() for half in series)
        return sorted(half.lines.start for half in halves if not half.is_known)


def survey(rows: Iterable[Row], mapping: FileMapping) -> Survey:
    """Look at all rows of a file.

    Raises:
        FileRefused: a row does not fit the header, or an option is missing or does not fit; nothing was stored.

    """
    count = 0
    sample = _Sample(mapping)
    several_fields = _SeveralFields(mapping)
    hours: dict[tuple[str, str], RepeatedHours] = {}
    for row in rows:
        count += 1
        several_fields.add(row)
        if count <= SAMPLE_ROWS:
            sample.add(row)
        _watch(hours, row, mapping)
    sample.check()
    descending = sample.falls > sample.rises
    return Survey(count, descending, {name: found.halves(descending=descending) for name, found in hours.items()})


def _watch(hours: dict[tuple[str, str], RepeatedHours], row: Row, mapping: FileMapping) -> None:
    """Note the row's time for the repeated hours of its series."""
    zone = mapping.times.zone
    if zone is None or all(value in (None, "") for _, _, value in mapping.values_of(row.values)):
        return
    try:
        time = mapping.times.parse(row.values.get(mapping.time))
    except UnreadableTime:
        return
    if isinstance(time, datetime) and time.tzinfo is None:
        series = mapping.series_of(row.values)
        if series not in hours:
            hours[series] = RepeatedHours(zone)
        hours[series].add(time, row.number)


class _SeveralFields:
    """Refuses a file of which one metric would get the values of several fields."""

    def __init__(self, mapping: FileMapping) -> None:
        self._all_values_are_one = any(column.name == VALUE for column in mapping.metrics.values())
        self._field: object = None

    def add(self, row: Row) -> None:
        if not self._all_values_are_one or FIELD not in row.values:
            return
        name = row.values[FIELD]
        if self._field not in (None, name):
            raise FileRefused(
                f"the file has the fields {self._field} and {name}; map them by their names, such as"
                f" --map power={name}, or leave out --map to keep their names"
            )
        self._field = name


@dataclass
class _Sample:
    """What the first rows say: whether times can be read and go up, and which decimal mark there is."""

    mapping: FileMapping
    rises: int = 0
    falls: int = 0
    _readable: int = 0
    _unreadable: str | None = None
    _comma: str | None = None
    _point: bool = False
    _last: dict[str, datetime] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        texts = [value for _, _, value in self.mapping.values_of(row.values) if value not in (None, "")]
        if not texts:
            return
        for text in texts:
            if isinstance(text, str):
                self._comma = self._comma or (text if has_decimal_comma(text) else None)
                self._point = self._point or has_decimal_point(text)
        self._add_time(row)

    def _add_time(self, row: Row) -> None:
        raw = row.values.get(self.mapping.time)
        try:
            time = self.mapping.times.parse(raw)
        except UnreadableTime as error:
            self._unreadable = self._unreadable or f"line {row.number}: {error}"
            return
        if isinstance(time, datetime):
            if time.tzinfo is None and self.mapping.times.zone is None:
                raise FileRefused(f"the time {raw} has no offset; set --timezone, such as Europe/Paris or UTC")
            device_id = self.mapping.device_of(row.values)
            last = self._last.setdefault(device_id, time)
            if (last.tzinfo is None) == (time.tzinfo is None):
                self.rises += time > last
                self.falls += time < last
            self._last[device_id] = time
        elif (unit := unit_hint(time, utc_now())) not in (None, "ms"):
            self._unreadable = (
                self._unreadable or f"line {row.number}: {raw} is not in {self.mapping.times.unit}; {_advice(unit)}"
            )
            return
        self._readable += 1

    def check(self) -> None:
        if self._unreadable and not self._readable:
            raise FileRefused(f"no time can be read; {self._unreadable}")
        if self.mapping.numbers.decimal == "." and self._comma and not self._point:
            raise FileRefused(f"{self._comma!r} has a decimal comma; set --decimal ','")


def _advice(unit: str | None) -> str:
    names = {"s": "seconds", "us": "microseconds"}
    return f"are these {names[unit or 's']}? Set --time-unit {unit}"
