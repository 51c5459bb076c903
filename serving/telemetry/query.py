"""One query about telemetry, however it was asked: readings or windows of some devices, a page at a time.

A page holds the newest items of what is left of the range; its cursor stands for what is older.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from assets.datasets.reader import Filter, TelemetryReader
from serving.http.errors import Invalid
from storage.telemetry import TIME, Aggregate

CURSOR = re.compile(r"(\d{1,17})\.(\d{1,17})\.(\d{1,7})")


@dataclass(frozen=True)
class TelemetryQuery:
    """What is asked: the half-open range in microseconds; with `every`, `function` of each window of that many.

    `skip` newest items of the range were given already. `context` asks for what stands beside metrics, too.
    """

    device_ids: Sequence[str]
    start: int
    end: int
    limit: int
    metrics: Sequence[str] | None = None
    function: Aggregate = "mean"
    every: int | None = None
    filters: Sequence[Filter] = ()
    context: bool = False
    skip: int = 0

    def resumed(self, cursor: str) -> "TelemetryQuery":
        """The query of which a page was answered already.

        Raises:
            Invalid: no answer gave this cursor.

        """
        try:
            found = CURSOR.fullmatch(base64.urlsafe_b64decode(cursor).decode("ascii"))
        except (ValueError, binascii.Error):
            found = None
        if found is None:
            raise Invalid("no answer gave this cursor; leave it out to begin with the newest", field="cursor")
        start, end, skip = map(int, found.groups())
        if start >= end or skip > len(self.device_ids):
            raise Invalid("no answer gave this cursor; leave it out to begin with the newest", field="cursor")
        return replace(self, start=start, end=end, skip=skip)


@dataclass(frozen=True)
class TelemetryPage:
    """Ascending in time: `time`, `device_id`, the metrics, of windows `COUNT`, and what stands beside if asked for."""

    table: pa.Table
    next_cursor: str | None


def answer(reader: TelemetryReader, query: TelemetryQuery) -> TelemetryPage:
    """The newest `limit` items of the query, and the cursor to those before them."""
    wanted = query.limit + query.skip + 1
    parts = [_of_device(reader, query, device_id, wanted) for device_id in query.device_ids]
    table = pa.concat_tables(parts, promote_options="default") if len(parts) > 1 else parts[0]
    if len(parts) > 1:
        table = table.sort_by([("time", "ascending"), ("device_id", "ascending")])
    last = len(table) - query.skip
    first = max(0, last - query.limit)
    page = table.slice(first, max(0, last - first))
    return TelemetryPage(page, _cursor(query, table, first) if first > 0 else None)


def _of_device(reader: TelemetryReader, query: TelemetryQuery, device_id: str, wanted: int) -> pa.Table:
    a, b = query.start, query.end
    if query.every is not None:
        table = reader.aggregate(
            device_id, a, b, function=query.function, every=query.every, metrics=query.metrics,
            filters=query.filters,
        )  # fmt: skip
        table = table.slice(max(0, len(table) - wanted))
    elif query.context and not query.filters:
        table = reader.read_with_context(device_id, a, b, metrics=query.metrics, newest=wanted)
    else:
        table = reader.read(device_id, a, b, metrics=query.metrics, newest=wanted, filters=query.filters)
    name = pa.repeat(pa.scalar(device_id), len(table))
    return table.add_column(1, "device_id", name)


def _cursor(query: TelemetryQuery, table: pa.Table, first: int) -> str:
    """Where the next page begins: at the oldest time that was given, without those of it that were given."""
    times = table["time"].cast(TIME).cast(pa.int64())
    oldest = times[first].as_py()
    given = pc.sum(pc.equal(times.slice(first), oldest)).as_py()
    end = min(query.end, oldest + (query.every or 1))
    return base64.urlsafe_b64encode(f"{query.start}.{end}.{given}".encode()).decode()
