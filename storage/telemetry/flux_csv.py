"""Answers of InfluxDB's query API, CSV with annotations, into Arrow without a Python object per value.

An answer is a sequence of blocks, one for each run of tables that have the same columns of the same types.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from influxdb_client.domain.dialect import Dialect
from numpy.typing import NDArray
from pyarrow import csv

DIALECT = Dialect(header=True, annotations=["datatype", "default"])  # type: ignore[no-untyped-call] # default: spares every row the result's name

_NUMBERS = {"double", "long", "unsignedLong"}
# Whole numbers as floats too: exact for microseconds until 2255. Times as nanoseconds, which other writers may leave.
_TYPES = {**dict.fromkeys(_NUMBERS, pa.float64()), "boolean": pa.bool_(), "string": pa.string(),
          "dateTime:RFC3339": pa.timestamp("ns", tz="UTC")}  # fmt: skip

Column = tuple[NDArray[np.int64], NDArray[np.float64]]  # moments in microseconds, and the values then
_NOTHING: Column = (np.zeros(0, np.int64), np.zeros(0))


class QueryFailed(Exception):
    """The server met an error after it had begun to answer."""


def columns(body: bytes) -> dict[str, Column]:
    """The columns `_time` and `_value` of every yield, by the yield's name; texts of other writers are left out.

    Raises:
        QueryFailed: the answer ends in an error.

    """
    found: dict[str, list[Column]] = {}
    for name, types, text in _blocks(body):
        if types["_value"] in _NUMBERS:
            table = _parse(types, text)
            found.setdefault(name, []).append((table["_time"].to_numpy(), table["_value"].to_numpy()))
    return {name: blocks[0] if len(blocks) == 1 else _joined(blocks) for name, blocks in found.items()}


def wide(given: Mapping[str, Column], fields: Iterable[str]) -> pa.Table:
    """A row per moment, from each field's times and values.

    Columns: `time` (int64, microseconds, ascending) and a float64 column per field asked for. Of several values of a
    field within a microsecond the last stands.
    """
    if not given:
        return pa.schema([("time", pa.int64()), *((name, pa.float64()) for name in fields)]).empty_table()
    moments = _moments([times for times, _ in given.values()])
    table = {"time": pa.array(moments)}
    for name in fields:
        times, values = given.get(name, _NOTHING)
        if np.array_equal(times, moments):
            table[name] = pa.array(values)
            continue
        at = np.searchsorted(moments, times)
        column, absent = np.zeros(len(moments)), np.ones(len(moments), bool)
        column[at], absent[at] = values, False
        table[name] = pa.array(column, mask=absent)
    return pa.table(table)


def _moments(every: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """All moments, ascending, each once: nearly always those of any one field."""
    one = every[0]
    if not all(np.array_equal(times, one) for times in every[1:]):
        one = np.concatenate(every)
    if np.all(np.diff(one) > 0):
        return one
    moments = np.sort(one, kind="stable")  # parts of it ascend already: this merges them
    return moments[np.diff(moments, prepend=moments[0] - 1) > 0]


def _joined(blocks: Sequence[Column]) -> Column:
    """One column of a field that is of several types, in different years say."""
    return np.concatenate([times for times, _ in blocks]), np.concatenate([values for _, values in blocks])


def rows(body: bytes) -> list[dict[str, Any]]:
    """Every row of a small answer, `_time` in whole microseconds; those whose `_value` is no number are left out.

    Raises:
        QueryFailed: the answer ends in an error.

    """
    numeric = ((types, text) for _, types, text in _blocks(body) if types.get("_value", "double") in _NUMBERS)
    return [row for types, text in numeric for row in _parse(types, text).to_pylist()]


def _blocks(body: bytes) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """The name of a block's yield, the types of its columns by name, and its rows."""
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
