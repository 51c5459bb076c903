"""Telemetry: what a reading is, and the protocol of a store that keeps them. `telemetry_stores` chooses the adapter.

A reading is one device at one moment. Times are whole microseconds since 1970 UTC inside the platform: exact,
cheap to compare, and what Arrow, PostgreSQL and InfluxDB keep.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, Protocol, get_args

import msgspec
import pyarrow as pa

from storage.devices import NAMED_METRICS

TIME = pa.timestamp("us", tz="UTC")

Aggregate = Literal["mean", "min", "max", "sum", "count", "median", "first", "last", "stddev"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

# Beside the metrics of an aggregate: how many readings the window holds. No metric's name begins with _.
COUNT = "_count"

# What stands beside a reading's metrics, in the order of its columns.
CONTEXT = pa.schema(
    [
        ("device_type", pa.string()),
        ("location", pa.string()),
        ("schema_version", pa.string()),
        ("enrichment_status", pa.string()),
        ("out_of_band", pa.list_(pa.string())),
        ("received_at", TIME),
    ]
)


class Reading(msgspec.Struct, kw_only=True, gc=False):
    """What a device measured at one moment.

    `metrics` holds the named metrics in V, A, W and °C and any further ones in the device's own units. `out_of_band`
    names those outside their nominal band, and says of the others that they are not, whatever was said of this moment
    before; None says so of all where nothing else can have been said before.
    """

    device_id: str
    time: int
    metrics: dict[str, float]
    received_at: int
    schema_version: str = "v1"
    enrichment_status: str = "pending"
    device_type: str | None = None
    location: str | None = None
    out_of_band: list[str] | None = None


@dataclass(frozen=True)
class Refused:
    """A reading that the store will never take, with the store's reason."""

    reading: Reading
    reason: str


@dataclass(frozen=True)
class MetricStatistics:
    """Plain statistics of one metric over a range, in the metric's unit; `sum` is the sum of the readings."""

    count: int
    min: float
    max: float
    mean: float
    sum: float


@dataclass(frozen=True)
class Statistics:
    """Of all readings of a device in a range; `metrics` names those that were there."""

    readings: int
    metrics: dict[str, MetricStatistics]


class StoreUnavailable(Exception):
    """The telemetry store does not answer; the same call may succeed later."""


class TelemetryStore(Protocol):
    """Keeps readings, one per device and moment: a later one's metrics replace, others stay.

    Ranges are half-open, in microseconds. Every method raises `StoreUnavailable` when the store does not answer.
    """

    def write(self, readings: Sequence[Reading]) -> list[Refused]:
        """Keep the readings durably; those that the store refuses come back, the others are kept."""

    def read(
        self,
        device_id: str,
        start: int,
        end: int,
        *,
        metrics: Sequence[str] | None = None,
        context: bool = False,
        newest: int | None = None,
    ) -> pa.Table:
        """A device's readings, ascending in time.

        Columns: `time`, a float64 column per metric, then those of `CONTEXT` if asked for. Without `metrics`: the four
        named ones, then whatever else is there by name. With them: those, in that order, and rows that have at least
        one of them. `newest` keeps that many of the latest.
        """

    def aggregate(
        self,
        device_id: str,
        start: int,
        end: int,
        *,
        function: Aggregate,
        every: int,
        metrics: Sequence[str] | None = None,
    ) -> pa.Table:
        """One row per window of `every` microseconds that holds readings.

        Columns: `time` (the window's start, aligned to 1970), `COUNT`, and a float64 column per metric.
        """

    def statistics(self, device_id: str, start: int, end: int) -> Statistics:
        """Statistics of every metric over the range."""

    def device_days(self, since: int) -> list[tuple[str, int]]:
        """Devices and the UTC days (start, in microseconds) that hold readings received since then."""

    def forget(self, before: int) -> None:
        """Give up readings before a moment; the store may keep some of them longer."""

    def check(self) -> None:
        """Return when the store answers."""

    def close(self) -> None:
        """Give back connections."""


def merge(readings: Sequence[Reading]) -> list[Reading]:
    """One reading per device and moment, of each metric the value that was received last.

    Sorted, so that two writers lock rows in the same order.
    """
    latest: dict[tuple[str, int], Reading] = {}
    for reading in sorted(readings, key=attrgetter("received_at")):
        key = (reading.device_id, reading.time)
        earlier = latest.get(key)
        latest[key] = reading if earlier is None else _merged(earlier, reading)
    return [latest[key] for key in sorted(latest)]


def _merged(older: Reading, newer: Reading) -> Reading:
    flags: list[str] | None = None
    if older.out_of_band is not None or newer.out_of_band is not None:
        flags = [name for name in older.out_of_band or () if name not in newer.metrics]
        flags += newer.out_of_band or ()
    return msgspec.structs.replace(newer, metrics={**older.metrics, **newer.metrics}, out_of_band=flags)


def order_metrics(names: set[str]) -> list[str]:
    """The named metrics first, then the others by name."""
    return [*NAMED_METRICS, *sorted(names.difference(NAMED_METRICS))]
