"""Answers of InfluxDB's query API, CSV with annotations, into Arrow without a Python object per value.

An answer is a sequence of blocks, one for each run of tables that have the same columns of the same types.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from influxdb_client.domain.dialect import Dialect
from pyarrow import csv

DIALECT = Dialect(header=True, annotations=["datatype", "default"])  # type: ignore[no-untyped-call] # default: spares every row the result's name

_NUMBERS = {"double", "long", "unsignedLong"}
# Whole numbers as floats too: exact for microseconds until 2255. Times as nanoseconds, which other writers may leave.
_TYPES = {**dict.fromkeys(_NUMBERS, pa.float64()), "boolean": pa.bool_(), "string": pa.string(),
          "dateTime:RFC3339": pa.timestamp("ns", tz="UTC")}  # fmt: skip


class QueryFailed(Exception):
    """The server met an error after it had begun to answer."""


def wide(body: bytes, fields: Sequence[str]) -> pa.Table:
    """A row per moment, from the columns `_time`, `_field` and `_value`.

    Columns: `time` (int64, microseconds, ascending) and a float64 column per field asked for. Of several values of a
    field within a microsecond the last stands.

    Raises:
        QueryFailed: the answer ends in an error.

    """
    blocks = [
        _parse(types, text, _field=pa.dictionary(pa.int32(), pa.string()))
        for types, text in _blocks(body)
        if types["_value"] in _NUMBERS  # else another writer's text
    ]
    if not blocks:
        return pa.schema([("time", pa.int64()), *((name, pa.float64()) for name in fields)]).empty_table()
    long = pa.concat_tables(blocks).unify_dictionaries()
    times, values, names = long["_time"].to_numpy(), long["_value"].to_numpy(), long["_field"].combine_chunks()
    codes = {name: code for code, name in enumerate(names.dictionary.to_pylist())}
    which = names.indices.to_numpy()
    moments = np.sort(times, kind="stable")  # every field's times ascend already: this merges them
    moments = moments[np.diff(moments, prepend=moments[0] - 1) > 0]
    columns = {"time": pa.array(moments)}
    for name in fields:
        ours = which == codes.get(name, -1)
        at = np.searchsorted(moments, times[ours])
        column, absent = np.zeros(len(moments)), np.ones(len(moments), bool)
        column[at], absent[at] = values[ours], False
        columns[name] = pa.array(column, mask=absent)
    return pa.table(columns)


def rows(body: bytes) -> list[dict[str, Any]]:
    """Every row of a small answer, `_time` in whole microseconds; those whose `_value` is no number are left out.

    Raises:
        QueryFailed: the answer ends in an error.

    """
    numeric = ((types, text) for types, text in _blocks(body) if types.get("_value", "double") in _NUMBERS)
    return [row for types, text in numeric for row in _parse(types, text).to_pylist()]


def _blocks(body: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """The types of a block's columns by name, and its rows."""
    for block in (b"\n" + body).split(b"\n#datatype,")[1:]:
        types, _, names, text = block.split(b"\r\n", 3)
        columns = dict(zip(names.decode().split(",")[1:], types.decode().split(","), strict=True))
        if "error" in columns:
            raise QueryFailed(text.decode().strip().strip(',"').replace('""', '"'))
        yield columns, text


def _parse(types: dict[str, str], text: bytes, **as_types: pa.DataType) -> pa.Table:
    columns = {name: _TYPES[kind] for name, kind in types.items() if name not in ("result", "table")}
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=["", *types]),
        convert_options=csv.ConvertOptions(column_types=columns | as_types, include_columns=list(columns)),
    )
    if "_time" in columns:
        microseconds = pa.array(table["_time"].cast(pa.int64()).to_numpy() // 1000)
        table = table.set_column(table.column_names.index("_time"), "_time", microseconds)
    return table
