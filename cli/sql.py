"""`energy sql`: query the datasets in SQL."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from enum import StrEnum
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.days import day_option
from storage.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CELL = 60


class Format(StrEnum):
    """How the result is printed."""

    table = "table"
    csv = "csv"
    json = "json"


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT statement.")],
    *,
    device: Annotated[list[str] | None, typer.Option(help="Only files of this device. Repeat for several.")] = None,
    start: Annotated[date | None, day_option("--from", "Only files from this day on.")] = None,
    end: Annotated[date | None, day_option("--to", "Only files up to this day.")] = None,
    output: Annotated[
        Format, typer.Option("--format", help="table for people, csv for spreadsheets, json for programs.")
    ] = Format.table,
) -> None:
    """Query the datasets in SQL (DuckDB). Queries can only read.

    Views: datasets (the rows of the day files), open_day (today's readings as they are stored now), energy_quarters,
    dataset_files (the catalogue), devices, rules, alerts, results, corrections, failures,
    quarantine.
    """
    with _without_pandas():
        from assets.datasets import warehouse
    from storage import dirty_days
    from storage.stores import open_stores

    if start and end and start > end:
        raise typer.BadParameter(f"--from {start} is after --to {end}")
    with open_stores(Settings.load()) as stores:
        if unknown := dirty_days.unknown_devices(stores.session, device or ()):
            raise typer.BadParameter(f"device {unknown[0]} is not registered and has no telemetry")
        try:
            rows = warehouse.query(stores, query, devices=device, start=start, end=end)
        except warehouse.QueryRefused as error:
            print(f"energy: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
    if output is Format.csv:
        _csv(rows)
    elif output is Format.json:
        _json(rows)
    else:
        _table(rows)


@contextmanager
def _without_pandas() -> Iterator[None]:
    """Let pyarrow find no pandas: it imports it with the first value that it makes, a fifth of this command's time."""
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)


class _Hidden(MetaPathFinder):
    def find_spec(self, name: str, path: object, target: object = None) -> None:  # noqa: ARG002 - the protocol's
        if name == "pandas":
            raise ImportError(name)


def _csv(rows: "pa.Table") -> None:
    import pyarrow as pa
    from pyarrow import csv

    for i, kind in enumerate(rows.schema.types):
        if pa.types.is_nested(kind):  # CSV has no lists
            texts = [None if value is None else json.dumps(value, default=_plain) for value in rows[i].to_pylist()]
            rows = rows.set_column(i, rows.field(i).name, pa.array(texts, pa.string()))
        elif isinstance(kind, pa.BaseExtensionType):
            rows = rows.set_column(i, rows.field(i).name, rows[i].cast(kind.storage_type))
    csv.write_csv(rows, sys.stdout.buffer)


def _json(rows: "pa.Table") -> None:
    from storage.views import JSON

    documents = [field.name for field in rows.schema if field.type == JSON]
    records = rows.to_pylist()
    for record in records:
        record |= {name: _parsed(record[name]) for name in documents}
    print(json.dumps(records, default=_plain))


def _parsed(document: str | None) -> Any:
    try:
        return None if document is None else json.loads(document)
    except ValueError:  # metadata of an early release may be any text
        return document


def _plain(value: Any) -> Any:
    """A value that JSON has no type for: sums of whole numbers are decimals without a fraction, other values text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


def _table(rows: "pa.Table") -> None:
    names = rows.column_names
    lines = [[_cell(value) for value in row.values()] for row in rows.to_pylist()]
    widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
    for line in (names, ["-" * width for width in widths], *lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print(f"{len(lines)} {'row' if len(lines) == 1 else 'rows'}", file=sys.stderr)


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"
