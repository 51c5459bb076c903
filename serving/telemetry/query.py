"""Reading telemetry page by page: readings or windows of some devices, from new to old.

A page has the newest items of the range. Its cursor stands for the rest of the range, which is older.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from assets.datasets import Filter, TelemetryReader
from serving.http.errors import Invalid
from storage.telemetry import TIME, Aggregate

CURSOR = re.compile(r"(\d{1,17})\.(\d{1,17})\.(\d{1,7})")
# About the largest page. Readings with many metrics are large in JSON, where each has all names.
MAX_JSON_BYTES, MAX_FILE_BYTES = 16_000_000, 100_000_000
ROW_BYTES, VALUE_BYTES = 200, 24
WRONG_CURSOR = "the cursor is not from an answer; leave it out to start with the newest items"


@dataclass(frozen=True)
class TelemetryQuery:
    """A page of the half-open range from `start` to `end`, in microseconds.

    With `every` (microseconds), the page has windows of this length with `function` of each metric; else readings.
    The `skip` newest items of the range were on earlier pages. With `context`, readings have fields beside metrics.
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
    max_bytes: int = MAX_JSON_BYTES

    def after(self, cursor: str) -> "TelemetryQuery":
        """The query for the next page.

        Raises:
            Invalid: The cursor is not from an answer.

        """
        try:
            match = CURSOR.fullmatch(base64.urlsafe_b64decode(cursor).decode("ascii"))
        except (ValueError, binascii.Error):
            match = None
        if match is None:
            raise Invalid(WRONG_CURSOR, field="cursor")
        start, end, skip = map(int, match.groups())
        if start >= end or skip > len(self.device_ids):
            raise Invalid(WRONG_CURSOR, field="cursor")
        return replace(self, start=start, end=end, skip=skip)


def rows_within(max_bytes: int, names: Iterable[str]) -> int:
    """About how many rows with these columns an answer of this size has; at least one."""
    return max(1, max_bytes // (ROW_BYTES + sum(len(name) + VALUE_BYTES for name in names)))


@dataclass(frozen=True)
class TelemetryPage:
    """Rows in time order: `time`, `device_id`, the metrics; `COUNT` for windows; the context if requested."""

    table: pa.Table
    next_cursor: str | None


def read_page(reader: TelemetryReader, query: TelemetryQuery) -> TelemetryPage:
    """The newest `limit` items of the query, or fewer if they are too large, and the cursor of the next page."""
    newest = query.limit + query.skip + 1
    parts = [_of_device(reader, query, device_id, newest) for device_id in query.device_ids]
    table = pa.concat_tables(parts, promote_options="default") if len(parts) > 1 else parts[0]
    if len(parts) > 1:
        table = table.sort_by([("time", "ascending"), ("device_id", "ascending")])
    last = len(table) - query.skip
    first = max(0, last - min(query.limit, rows_within(query.max_bytes, table.column_names)))
    page = table.slice(first, max(0, last - first))
    return TelemetryPage(page, _cursor(query, table, first) if first > 0 else None)


def _of_device(reader: TelemetryReader, query: TelemetryQuery, device_id: str, newest: int) -> pa.Table:
    a, b = query.start, query.end
    if query.every is not None:
        table = reader.aggregate(
            device_id, a, b, function=query.function, every=query.every, metrics=query.metrics,
            filters=query.filters,
        )  # fmt: skip
        table = table.slice(max(0, len(table) - newest))
    elif query.context and not query.filters:
        table = reader.read_with_context(device_id, a, b, metrics=query.metrics, newest=newest)
    else:
        table = reader.read(device_id, a, b, metrics=query.metrics, newest=newest, filters=query.filters)
    name = pa.repeat(pa.scalar(device_id), len(table))
    return table.add_column(1, "device_id", name)


def _cursor(query: TelemetryQuery, table: pa.Table, first: int) -> str:
    """The rest of the range: up to the page's oldest time, skipping the items of that time that the page has."""
    times = table["time"].cast(TIME).cast(pa.int64())
    oldest = times[first].as_py()
    skip = pc.sum(pc.equal(times.slice(first), oldest)).as_py()
    end = min(query.end, oldest + (query.every or 1))
    return base64.urlsafe_b64encode(f"{query.start}.{end}.{skip}".encode()).decode()
