"""`energy import`: load past readings from a file."""

import sys
from datetime import date
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
    from ingest.files import FileMapping, Imported

MAX_NAMED = 5


def import_file(
    file: File,
    *,
    device: Device = None,
    device_column: Annotated[str | None, typer.Option(help="The column with each row's device id.")] = None,
    map: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(
            metavar="METRIC=COLUMN[:UNIT]",
            help="Read a metric from a column, e.g. power=P_total:kW. Repeat for several."
            " Default: the columns voltage, current, power and temperature; others are read only with --map.",
        ),
    ] = None,
    time: Annotated[str, typer.Option(help="The column with the time.")] = "timestamp",
    time_unit: TimeUnit = "ms",
    time_format: TimePattern = None,
    timezone: Timezone = None,
    decimal: Annotated[str, typer.Option(help="The decimal mark of numbers: '.' or ','.")] = ".",
    thousands: Annotated[
        str | None,
        typer.Option(help="The mark between thousands, e.g. ','. With --decimal ',' points and blanks are such marks."),
    ] = None,
    separator: Separator = None,
    encoding: Encoding = None,
) -> None:
    """Store the rows of a file as readings. Bad rows are quarantined with the reason. No alerts are raised.

    The exit code is 1 if nothing was stored, and 2 if the file or the options do not fit.
    """
    from ingest import files

    settings = Settings.load()
    check_file(file)
    if (device is None) == (device_column is None):
        raise typer.BadParameter("give either --device or --device-column")
    check_device(device)
    if decimal not in (".", ",") or (thousands is not None and (decimal in thousands or len(thousands) != 1)):
        raise typer.BadParameter("--decimal is '.' or ',', and --thousands is one other character")
    separator = separator_of(separator)
    times = times_of(time_unit, time_format, timezone)
    try:
        mapping = files.FileMapping(
            metrics=dict(files.metric_column(text) for text in map or ()),
            time=time,
            times=times,
            numbers=files.NumberFormat.of(decimal, thousands),
            device_id=device,
            device_column=device_column,
        )
        done, moved_to = _import(file, mapping, settings, separator, encoding)
    except files.FileRefused as error:
        print(f"energy: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    _report(done, settings)
    if moved_to:
        _reload(settings, moved_to)
    if not done.stored:
        print("energy: nothing was stored", file=sys.stderr)
        raise typer.Exit(1)


def _import(
    path: Path, mapping: "FileMapping", settings: Settings, separator: str | None, encoding: str | None
) -> tuple["Imported", date | None]:
    """Import, and return the first day of datasets too if older readings have moved it."""
    from ingest import files
    from storage.dataset_start import dataset_start, move_dataset_start
    from storage.stores import open_stores

    table = files.open_table(path, separator=separator, encoding=encoding)
    mapping = mapping.for_columns(table.names)
    survey = files.survey(table.rows(), mapping)
    if lines := survey.ambiguous_lines:
        others = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        print(
            f"energy: line {lines[0]}{others}: the zone repeats this hour in autumn, and the file does not show which"
            " one is meant. The first one is taken.",
            file=sys.stderr,
        )
    with (
        open_stores(settings) as stores,
        typer.progressbar(length=survey.rows, label=path.name, file=sys.stderr) as bar,
    ):
        before = dataset_start(stores.session, settings)
        importer = files.Importer(
            mapping,
            stores.telemetry,
            stores.session,
            max_metrics=settings.max_metrics_per_device,
            survey=survey,
        )
        done = importer.run(table.rows(), bar.update)
        start = move_dataset_start(stores.session, settings)
        stores.session.commit()
        return done, start if start < before else None


def _reload(settings: Settings, start: date) -> None:
    from orchestration.reload import reload_definitions

    reloaded = reload_definitions(settings)
    later = "" if reloaded else "; Dagster has not confirmed it, and shows it at its next start at the latest"
    print(f"energy: datasets now begin on {start}{later}", file=sys.stderr)


def _report(done: "Imported", settings: Settings) -> None:
    devices = f"{len(done.devices)} device{'' if len(done.devices) == 1 else 's'}"
    period = f", {done.first:%Y-%m-%d %H:%M} to {done.last:%Y-%m-%d %H:%M} UTC" if done.first and done.last else ""
    print(
        f"{done.rows} row{'' if done.rows == 1 else 's'}: {done.stored} stored, {done.quarantined} quarantined,"
        f" {done.skipped} skipped (without a value); {devices}{period}"
    )
    if done.first_reason:
        print(f"energy: the first quarantined row: {done.first_reason}", file=sys.stderr)
    if done.dropped:
        print(
            f"energy: {done.dropped} values were dropped: texts, beyond ±1e12, ignored by the device's metadata, or of"
            " more metrics than MAX_METRICS_PER_DEVICE",
            file=sys.stderr,
        )
    if done.unregistered:
        print(
            f"energy: not registered: {', '.join(done.unregistered[:MAX_NAMED])}"
            f"{' and others' if len(done.unregistered) > MAX_NAMED else ''}."
            " Their readings are stored under these ids; `energy devices import` registers devices.",
            file=sys.stderr,
        )
    if settings.dataset_start_date and done.first and done.first.date() < settings.dataset_start_date:
        print(
            f"energy: datasets begin at DATASET_START_DATE={settings.dataset_start_date}."
            f" Set it to {done.first.date()} to include all of these readings.",
            file=sys.stderr,
        )
