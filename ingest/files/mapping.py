"""Which column of a file is what: the time, the device, and the metrics with their units."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ingest.files.rows import FileRefused
from ingest.files.times import MILLISECONDS_PER_UNIT, TimeFormat
from ingest.files.values import NumberFormat
from storage.devices import METRIC, NAMED_METRICS, RESERVED

# From a file's unit to the platform's: multiply by the first number, then add the second.
CONVERSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "voltage": {"V": (1, 0), "mV": (1e-3, 0), "kV": (1e3, 0)},
    "current": {"A": (1, 0), "mA": (1e-3, 0), "kA": (1e3, 0)},
    "power": {"W": (1, 0), "kW": (1e3, 0), "MW": (1e6, 0)},
    "temperature": {"C": (1, 0), "°C": (1, 0), "K": (1, -273.15), "F": (5 / 9, -160 / 9), "°F": (5 / 9, -160 / 9)},
}
# InfluxDB's CSV has one value per row, and the name of its field beside it.
FIELD, VALUE, INFLUX_TIME = "_field", "_value", "_time"
# Of a file's columns, in messages.
MAX_SHOWN, MAX_SHOWN_NAME = 10, 40


@dataclass(frozen=True)
class Column:
    """The file's column of a metric, and how to convert its numbers to the platform's unit."""

    name: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class FileMapping:
    """How to read a file: its columns, its device or the column that names it, and how it writes times and numbers."""

    metrics: Mapping[str, Column]
    time: str = "timestamp"
    times: TimeFormat = field(default_factory=TimeFormat)
    numbers: NumberFormat = field(default_factory=NumberFormat)
    device_id: str | None = None
    device_column: str | None = None
    has_fields: bool = False  # one value per row, as InfluxDB writes them

    def for_columns(self, names: list[str]) -> "FileMapping":
        """The mapping for a file with these columns. Without metrics, those named like the four usual ones are read.

        Raises:
            FileRefused: a column is missing or ambiguous, no metric is mapped, or the unit of time is unknown.

        """
        has_fields = {FIELD, VALUE, INFLUX_TIME} <= set(names)
        mapping = replace(self, has_fields=has_fields)
        if not self.metrics and not has_fields:
            mapping = replace(mapping, metrics={name: Column(name) for name in NAMED_METRICS if name in names})
        if has_fields and self.time not in names:
            mapping = replace(mapping, time=INFLUX_TIME)
        mapping.check(names)
        return mapping

    def check(self, names: list[str]) -> None:
        """Check that the columns are there.

        Raises:
            FileRefused: a column is missing or ambiguous, no metric is mapped, or the unit of time is unknown.

        """
        wanted = [self.time, *([self.device_column] if self.device_column else [])]
        wanted += [] if self.has_fields else [column.name for column in self.metrics.values()]
        if missing := [name for name in wanted if name not in names]:
            raise FileRefused(f"there is no column {', '.join(missing)}; the file has {_some(names)}")
        if duplicate := next((name for name in wanted if names.count(name) > 1), None):
            raise FileRefused(f"two columns are named {duplicate}; rename one")
        if not self.metrics and not self.has_fields:
            *some, last = NAMED_METRICS
            raise FileRefused(
                f"no column is named {', '.join(some)} or {last}; the file has {_some(names)}."
                " Map the others, such as --map power=P_total:kW"
            )
        if self.times.unit not in MILLISECONDS_PER_UNIT:
            raise FileRefused(
                f"{self.times.unit!r} is not a unit of time; choose from {', '.join(MILLISECONDS_PER_UNIT)}"
            )

    def values_of(self, row: Mapping[str, Any]) -> Iterator[tuple[str, Column, Any]]:
        """The row's metrics with their columns and what the file has for them."""
        if not self.has_fields:
            for metric, column in self.metrics.items():
                yield metric, column, row.get(column.name)
            return
        name = str(row.get(FIELD) or "")
        if self.takes_all_fields and is_metric(name):
            yield name, Column(VALUE), row.get(VALUE)
        for metric, column in self.metrics.items():
            if column.name in (VALUE, name):
                yield metric, column, row.get(VALUE)

    @property
    def takes_all_fields(self) -> bool:
        """Whether each field is a metric under its own name."""
        return self.has_fields and not self.metrics

    def series_of(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Whose times go up or down together: the device, and InfluxDB's field."""
        return self.device_of(row), str(row.get(FIELD, ""))

    def device_of(self, row: Mapping[str, Any]) -> str:
        if self.device_column is None:
            return self.device_id or ""
        value = row.get(self.device_column)
        return "" if value is None else str(value).strip()


def metric_column(text: str) -> tuple[str, Column]:
    """Parse `metric=column` or `metric=column:unit`, such as `power=P_total:kW`.

    Raises:
        FileRefused: the text has another form, or the metric does not have the unit.

    """
    metric, equals, rest = (part.strip() for part in text.partition("="))
    if not is_metric(metric) or not equals or not rest:
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


def _some(names: list[str]) -> str:
    shown = ", ".join(
        name if len(name) <= MAX_SHOWN_NAME else f"{name[:MAX_SHOWN_NAME]}…" for name in names[:MAX_SHOWN]
    )
    return shown if len(names) <= MAX_SHOWN else f"{shown} and {len(names) - MAX_SHOWN} more"


def is_metric(name: str) -> bool:
    return name not in RESERVED and re.fullmatch(METRIC, name) is not None
