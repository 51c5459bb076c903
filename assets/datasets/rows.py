"""Operations on tables of readings: `time`, a float64 column per metric, and further columns.

`metrics` are the wanted metrics, or None for all that the tables have.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from assets.energy.corrections import CORRECTED
from storage.devices import order_metrics
from storage.telemetry import CONTEXT, COUNT


def with_metrics(table: pa.Table, metrics: Sequence[str], further: Sequence[str] = ()) -> pa.Table:
    """These metrics, null where the table lacks one, and then the further columns."""
    null = pa.nulls(len(table), pa.float64())
    columns = {name: table[name] if name in table.column_names else null for name in metrics}
    return pa.table({"time": table["time"], **columns, **{name: table[name] for name in further}})


def having_any(table: pa.Table, metrics: Sequence[str]) -> pa.Table:
    """The rows in which at least one of the metrics has a value."""
    if any(table[name].null_count == 0 for name in metrics):
        return table
    return table.filter(pc.is_valid(pc.coalesce(*(table[name] for name in metrics))))


def without_times_of(table: pa.Table, others: pa.Table) -> pa.Table:
    """The rows whose time is not a time of the other table."""
    return table.filter(pc.invert(pc.is_in(table["time"], others["time"].combine_chunks())))


def without_flag(table: pa.Table) -> pa.Table:
    """The table without the column that says which rows were corrected."""
    return table.drop_columns([CORRECTED]) if CORRECTED in table.column_names else table


def newest_rows(table: pa.Table, count: int | None) -> pa.Table:
    """The last `count` rows; all if it is None."""
    return table if count is None else table.slice(max(0, len(table) - count))


def concatenated(tables: Sequence[pa.Table], metrics: Sequence[str] | None, *, context: bool = False) -> pa.Table:
    """The rows of the tables in their order, with the columns in the order of `TelemetryStore.read`."""
    table = pa.concat_tables(tables, promote_options="default")
    leading = [name for name in ("time", COUNT) if name in table.column_names]
    trailing = [*(CONTEXT.names if context else ()), *(name for name in [CORRECTED] if name in table.column_names)]
    if metrics is None:
        metrics = order_metrics(set(table.column_names).difference(leading, trailing))
    return table.select([*leading, *metrics, *trailing])
