"""What a reading is, and the protocol of a store that keeps readings. `storage.stores` chooses the adapter.

A reading is what one device measured at one moment. Inside the platform times are whole microseconds since 1970 UTC:
exact, cheap to compare, and the resolution of Arrow, PostgreSQL and InfluxDB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, Protocol, get_args

import msgspec
import pyarrow as pa

from storage.telemetry.statistics import Statistics

TIME = pa.timestamp("us", tz="UTC")

Aggregate = Literal["mean", "min", "max", "sum", "count", "median", "first", "last", "stddev"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

# The column of an aggregate with the number of readings in each window. No metric's name begins with _.
COUNT = "_count"

# What is stored beside a reading's metrics, in the order of the columns.
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
    """What a device measured at one moment. `time` and `received_at` are microseconds since 1970 UTC.

    `metrics` holds the named metrics in V, A, W and °C, and any others in the device's own units.

    `out_of_band` names the metrics outside their nominal band. A list is a statement about every metric of the reading
    and replaces earlier ones for the same moment. None says that no metric is out of band, and is enough where no
    earlier statement can exist.
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
    """A reading that the store will never accept, with the store's reason."""

    reading: Reading
    reason: str


class StoreUnavailable(Exception):
    """The telemetry store does not answer. The same call may succeed later."""


class TelemetryStore(Protocol):
    """Keeps one reading per device and moment. Metrics of a later reading replace those of an earlier one, others stay.

    Ranges are half-open, in microseconds. Every method raises `StoreUnavailable` if the store does not answer.
    """

    def write(self, readings: Sequence[Reading]) -> list[Refused]:
        """Store the readings durably, and return those that the store refuses."""

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

        Args:
            device_id: the device.
            start: the beginning of the range.
            end: the end of the range, not included.
            metrics: the metrics to read, in this order; rows have at least one of them. Without it: the four named
                ones, then all others by name.
            context: whether to read the columns of `CONTEXT` too.
            newest: how many of the latest readings to keep. Without it: all.

        Returns:
            A table with the column `time`, a float64 column per metric, then the columns of `CONTEXT` if asked for.

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
        """One row per window of `every` microseconds that has readings.

        Returns:
            A table with the columns `time` (the window's start, aligned to 1970), `COUNT`, and a float64 column per
            metric.

        """

    def statistics(self, device_id: str, start: int, end: int) -> Statistics:
        """Statistics of every metric over the range."""

    def device_days(self, since: int) -> list[tuple[str, int]]:
        """Devices and the UTC days (start, in microseconds) with readings that were received since then."""

    def forget(self, before: int) -> None:
        """Delete readings before a moment. The store may keep some of them longer."""

    def check(self) -> None:
        """Return if the store answers."""

    def close(self) -> None:
        """Close all connections."""


def merge(readings: Sequence[Reading]) -> list[Reading]:
    """One reading per device and moment, with the value of each metric that was received last.

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
