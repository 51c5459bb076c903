"""`energy import`: load past readings from a file."""

import sys
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from storage.settings import Settings, known_zone

MAX_NAMED = 5


def import_file(
    file: Annotated[Path, typer.Argument(help="A CSV file with a header, or a Parquet file.")],
    *,
    device: Annotated[str | None, typer.Option(help="The device that all rows belong to.")] = None,
    device_column: Annotated[str | None, typer.Option(help="The column with each row's device id.")] = None,
    map: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(
            metavar="METRIC=COLUMN[:UNIT]",
            help="Read a metric from a column, e.g. power=P_total:kW. Repeat for several."
            " Default: the columns that are named like metrics.",
        ),
    ] = None,
    time: Annotated[str, typer.Option(help="The column with the time.")] = "timestamp",
    time_unit: Annotated[str, typer.Option(help="The unit of numeric times (since 1970): s, ms or us.")] = "ms",
    timezone: Annotated[
        str | None, typer.Option(help="The time zone of times without an offset, e.g. Europe/Berlin.")
    ] = None,
) -> None:
    """Store the rows of a file as readings. Bad rows are quarantined with the reason. No alerts are raised."""
    from ingest.intake import files
    from storage.stores import open_stores

    settings = Settings.load()
    if (device is None) == (device_column is None):
        raise typer.BadParameter("give either --device or --device-column")
    if device is not None and not files.is_identifier(device):
        raise typer.BadParameter(f"--device {device!r} is not a device id (letters, digits, _ . -; at most 50)")
    try:
        zone = ZoneInfo(known_zone(timezone)) if timezone else None
    except ValueError as error:
        raise typer.BadParameter(f"--timezone {error}") from None
    try:
        metrics = dict(files.metric_column(text) for text in map or ())
        names, _ = files.batches(file)
        mapping = files.FileMapping(
            metrics=metrics or files.default_metrics(names),
            time=time,
            time_unit=time_unit,
            zone=zone,
            device_id=device,
            device_column=device_column,
        )
        files.check(mapping, names)
        with (
            open_stores(settings) as stores,
            typer.progressbar(length=files.count_rows(file), label=file.name, file=sys.stderr) as bar,
        ):
            done = files.import_file(file, mapping, stores.telemetry, stores.session, bar.update)
    except files.FileRefused as error:
        print(f"energy: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    period = f", {done.first:%Y-%m-%d %H:%M} to {done.last:%Y-%m-%d %H:%M} UTC" if done.first and done.last else ""
    print(
        f"{done.rows} rows: {done.stored} stored, {done.quarantined} quarantined; {len(done.devices)} devices{period}"
    )
    if done.unregistered:
        print(
            f"energy: not registered: {', '.join(done.unregistered[:MAX_NAMED])}"
            f"{' and others' if len(done.unregistered) > MAX_NAMED else ''}."
            " Their readings are stored under these ids; `energy devices import` registers devices.",
            file=sys.stderr,
        )
    if done.first and done.first.date() < settings.dataset_start_date:
        print(
            f"energy: datasets begin at DATASET_START_DATE={settings.dataset_start_date}."
            f" Set it to {done.first.date()} to include all of these readings.",
            file=sys.stderr,
        )
