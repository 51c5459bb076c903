"""`energy sql`: a question to the datasets, in SQL."""

import json
import sys
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storage.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

WIDEST = 60


class Format(StrEnum):
    """How the answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT.")],
    *,
    device: Annotated[list[str] | None, typer.Option(help="Only files of this device; may be given again.")] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Only files from here.")
    ] = None,
    end: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Only files up to here.")] = None,
    output: Annotated[Format, typer.Option("--format", help="For people, spreadsheets or programs.")] = Format.table,
) -> None:
    """Ask the datasets in SQL (DuckDB), reading only.

    Views: datasets (the rows of the day files), dataset_files (the catalogue), devices, alerts, results.
    """
    from assets.datasets import warehouse  # noqa: PLC0415 - DuckDB and pyarrow cost half a second, `energy --help` need not pay
    from storage import dirty_days  # noqa: PLC0415
    from storage.stores import open_stores  # noqa: PLC0415

    if start and end and start > end:
        raise typer.BadParameter(f"--from {start:%Y-%m-%d} lies after --to {end:%Y-%m-%d}")
    days = [day.date() if day else None for day in (start, end)]
    with open_stores(Settings.load()) as stores:
        if unknown := dirty_days.unknown_devices(stores.session, device or ()):
            raise typer.BadParameter(f"there is no device {unknown[0]}, and no telemetry is known of one")
        try:
            answer = warehouse.query(stores, query, devices=device, start=days[0], end=days[1])
        except warehouse.QueryRefused as error:
            print(f"energy: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
    if output is Format.csv:
        _csv(answer)
    elif output is Format.json:
        print(json.dumps(answer.to_pylist(), default=str))
    else:
        _table(answer)


def _csv(answer: "pa.Table") -> None:
    from pyarrow import csv  # noqa: PLC0415

    csv.write_csv(answer, sys.stdout.buffer)


def _table(answer: "pa.Table") -> None:
    names = answer.column_names
    rows = [[_cell(value) for value in row.values()] for row in answer.to_pylist()]
    widths = [max(len(name), *(len(row[i]) for row in rows)) if rows else len(name) for i, name in enumerate(names)]
    for row in (names, ["-" * width for width in widths], *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{len(rows)} rows", file=sys.stderr)


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
