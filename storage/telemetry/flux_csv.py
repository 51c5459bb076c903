"""Reads answers of InfluxDB's query API, annotated CSV, into Arrow without a Python object per value.

An answer is a sequence of blocks. Each block holds consecutive tables with the same columns of the same types.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from influxdb_client.domain.dialect import Dialect
from pyarrow import csv

from storage.arrays import Floats, Times

DIALECT = Dialect(header=True, annotations=["datatype", "default"])  # type: ignore[no-untyped-call] # with `default` no row repeats the result's name

_NUMBERS = {"double", "long", "unsignedLong"}
# Whole numbers are read as floats: exact for microseconds until 2255. Times are nanoseconds, which other writers use.
_TYPES = {**dict.fromkeys(_NUMBERS, pa.float64()), "boolean": pa.bool_(), "string": pa.string(),
          "dateTime:RFC3339": pa.timestamp("ns", tz="UTC")}  # fmt: skip

Column = tuple[Times, Floats]  # times in microseconds, and the values at these times
_EMPTY: Column = (np.zeros(0, np.int64), np.zeros(0))


class QueryFailed(Exception):
    """The server failed after it had begun to answer."""


def columns(body: bytes) -> dict[str, Column]:
    """The columns `_time` and `_value` of every yield, by the yield's name. Texts, from other writers, are left out.

    Raises:
        QueryFailed: the answer ends in an error.

    """
    blocks: dict[str, list[Column]] = {}
    for name, types, text in _blocks(body):
        if types["_value"] in _NUMBERS:
            table = _parse(types, text)
            blocks.setdefault(name, []).append((table["_time"].to_numpy(), table["_value"].to_numpy()))
    return {name: parts[0] if len(parts) == 1 else _concatenate(parts) for name, parts in blocks.items()}


def wide(series: Mapping[str, Column], fields: Iterable[str]) -> pa.Table:
    """One row per time, from each field's times and values.

    The columns are `time` (int64 microseconds, ascending) and a float64 column per field of `fields`. If a field has
    several values within a microsecond, the last one counts.
    """
    if not series:
        return pa.schema([("time", pa.int64()), *((name, pa.float64()) for name in fields)]).empty_table()
    every_time = _all_times([times for times, _ in series.values()])
    table = {"time": pa.array(every_time)}
    for name in fields:
        times, values = series.get(name, _EMPTY)
        if np.array_equal(times, every_time):
            table[name] = pa.array(values)
            continue
        at = np.searchsorted(every_time, times)
        column, absent = np.zeros(len(every_time)), np.ones(len(every_time), bool)
        column[at], absent[at] = values, False
        table[name] = pa.array(column, mask=absent)
    return pa.table(table)


def _all_times(columns: Sequence[Times]) -> Times:
    """All times, ascending, each once. Nearly always every field has the same times."""
    times = columns[0]
    if not all(np.array_equal(other, times) for other in columns[1:]):
        times = np.concatenate(columns)
    if np.all(np.diff(times) > 0):
        return times
    times = np.sort(times, kind="stable")  # merges parts that are in order already
    return times[np.diff(times, prepend=times[0] - 1) > 0]


def _concatenate(blocks: Sequence[Column]) -> Column:
    """One column from the blocks of a field that had several types over time."""
    return np.concatenate([times for times, _ in blocks]), np.concatenate([values for _, values in blocks])


def rows(body: bytes) -> list[dict[str, Any]]:
    """Every row of a small answer, with `_time` in whole microseconds, but none whose `_value` is not a number.

    Raises:
        QueryFailed: the answer ends in an error.

    """
    numeric = ((types, text) for _, types, text in _blocks(body) if types.get("_value", "double") in _NUMBERS)
    return [row for types, text in numeric for row in _parse(types, text).to_pylist()]


def _blocks(body: bytes) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Each block's yield name, the types of its columns by name, and its rows as text."""
    for block in (b"\n" + body).split(b"\n#datatype,")[1:]:
        types, defaults, names, text = block.split(b"\r\n", 3)
        kinds = dict(zip(names.decode().split(",")[1:], types.decode().split(","), strict=True))
        if "error" in kinds:
            raise QueryFailed(text.decode().strip().strip(',"').replace('""', '"'))
        yield defaults.decode().split(",")[1], kinds, text


def _parse(types: dict[str, str], text: bytes) -> pa.Table:
    kinds = {name: _TYPES[kind] for name, kind in types.items() if name not in ("result", "table")}
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=["", *types]),
        convert_options=csv.ConvertOptions(column_types=kinds, include_columns=list(kinds)),
    )
    if "_time" in kinds:
        microseconds = pa.array(table["_time"].cast(pa.int64()).to_numpy() // 1000)
        table = table.set_column(table.column_names.index("_time"), "_time", microseconds)
    return table
