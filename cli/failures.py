"""`energy failures`: record past failures from a file. Works on the database directly, without the API."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.file_options import (
    Device,
    Encoding,
    File,
    Separator,
    TimePattern,
    TimeUnit,
    Timezone,
    check_device,
    check_file,
    separator_of,
    times_of,
)
from storage.settings import Settings

if TYPE_CHECKING:
    from ingest.files import ImportedFailures

MAX_NAMED = 5

app = typer.Typer(help="Record failures of devices, which predictions learn from.", no_args_is_help=True)


@app.callback()
def failures() -> None:
    """Record failures of devices, which predictions learn from."""


@app.command("import")
def import_failures(
    file: File,
    *,
    device: Device = None,
    device_column: Annotated[str, typer.Option(help="The column with each row's device id.")] = "device_id",
    time: Annotated[str, typer.Option(help="The column with the time of the failure.")] = "failed_at",
    repaired: Annotated[str, typer.Option(help="The column with the time of the repair, if any.")] = "repaired_at",
    description: Annotated[str, typer.Option(help="The column that says what happened, if any.")] = "description",
    time_unit: TimeUnit = "ms",
    time_format: TimePattern = None,
    timezone: Timezone = None,
    separator: Separator = None,
    encoding: Encoding = None,
) -> None:
    """Record the failures of a file. Rows that are recorded already change nothing, and bad rows are named.

    The exit code is 1 if a row was refused, and 2 if the file or the options do not fit.
    """
    from ingest import files
    from storage.stores import open_session

    check_file(file)
    check_device(device)
    if time_unit not in files.UNITS_OF_TIME:
        raise typer.BadParameter(f"--time-unit {time_unit!r} is not one of {', '.join(files.UNITS_OF_TIME)}")
    times = times_of(time_unit, time_format, timezone)
    columns = files.FailureColumns(time, repaired, description, device_column, device, times)
    try:
        table = files.open_table(file, separator=separator_of(separator), encoding=encoding)
        columns.check(table.names)
        with open_session(Settings.load()) as session:
            done = files.import_failures(table.rows(), columns, session)
            session.commit()
    except files.FileRefused as error:
        print(f"energy: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    _report(file, done)
    raise typer.Exit(1 if done.refused else 0)


def _report(file: Path, done: "ImportedFailures") -> None:
    devices = f"{len(done.devices)} device{'' if len(done.devices) == 1 else 's'}"
    print(
        f"{done.rows} row{'' if done.rows == 1 else 's'}: {done.stored} stored, {done.known} recorded already,"
        f" {len(done.refused)} refused, {done.skipped} skipped (empty); {devices}"
    )
    for line, reason in done.refused[:MAX_NAMED]:
        print(f"{file}:{line}: {reason}", file=sys.stderr)
    if len(done.refused) > MAX_NAMED:
        print(f"energy: {len(done.refused) - MAX_NAMED} more rows were refused", file=sys.stderr)
    if done.unregistered:
        print(
            f"energy: not registered: {', '.join(done.unregistered[:MAX_NAMED])}"
            f"{' and others' if len(done.unregistered) > MAX_NAMED else ''}."
            " Their failures are recorded under these ids; `energy devices import` registers devices.",
            file=sys.stderr,
        )
