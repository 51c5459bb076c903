"""`energy import`: history from a file, so that a plant with old data starts with it."""

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
    device: Annotated[str | None, typer.Option(help="The device that all rows are of.")] = None,
    device_column: Annotated[str | None, typer.Option(help="The column that names each row's device.")] = None,
    map: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(
            metavar="METRIC=COLUMN[:UNIT]",
            help="Where a metric is, such as power=P_total:kW; may be given several times."
            " Without it, columns named like the metrics are taken.",
        ),
    ] = None,
    time: Annotated[str, typer.Option(help="The column of the time.")] = "timestamp",
    time_unit: Annotated[str, typer.Option(help="Of times that are numbers since 1970: s, ms or us.")] = "ms",
    timezone: Annotated[str | None, typer.Option(help="The zone of times without an offset.")] = None,
) -> None:
    """Store a file's rows as readings. Bad rows are quarantined with the reason, and no alerts are raised."""
    from ingest.intake import files  # noqa: PLC0415 - pyarrow costs a quarter of a second, which `energy --help` need not pay
    from storage.stores import open_stores  # noqa: PLC0415

    settings = Settings.load()
    if (device is None) == (device_column is None):
        raise typer.BadParameter("give --device, or --device-column")
    if device is not None and not files.is_identifier(device):
        raise typer.BadParameter(f"--device {device!r} is no device id (letters, digits, _ . -, at most 50)")
    try:
        zone = ZoneInfo(known_zone(timezone)) if timezone else None
    except ValueError as error:
        raise typer.BadParameter(f"--timezone {error}") from None
    try:
        metrics = dict(files.metric_column(text) for text in map or ())
        names, _ = files.batches(file)
        mapped = files.Mapped(
            metrics=metrics or files.guessed_metrics(names),
            time=time,
            time_unit=time_unit,
            zone=zone,
            device_id=device,
            device_column=device_column,
        )
        files.check(mapped, names)
        with (
            open_stores(settings) as stores,
            typer.progressbar(length=files.count_rows(file), label=file.name, file=sys.stderr) as bar,
        ):
            done = files.bring_in(file, mapped, stores.telemetry, stores.session, bar.update)
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
            f"{' and others' if len(done.unregistered) > MAX_NAMED else ''};"
            " their readings are kept under these names, and `energy devices import` registers devices",
            file=sys.stderr,
        )
    if done.first and done.first.date() < settings.dataset_start_date:
        print(
            f"energy: datasets begin at DATASET_START_DATE={settings.dataset_start_date};"
            f" move it to {done.first.date()} to have all of this in datasets",
            file=sys.stderr,
        )
