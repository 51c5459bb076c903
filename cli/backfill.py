"""`energy backfill`: datasets of past days, made or made again."""

import sys
import time
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from storage import dirty_days
from storage.settings import Settings

if TYPE_CHECKING:
    from orchestration.datasets.backfill import Backfilled


class Asset(StrEnum):
    """What can be made for many days at once."""

    telemetry_dataset = "telemetry_dataset"
    telemetry_monthly = "telemetry_monthly"


def backfill(
    start: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first UTC day.")],
    end: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The last UTC day, included.")],
    device: Annotated[list[str] | None, typer.Option(help="Only this device; may be given several times.")] = None,
    asset: Annotated[Asset, typer.Option(help="What is to be made.")] = Asset.telemetry_dataset,
) -> None:
    """Make the datasets of past days, or make them again; what stands there already stays as it is."""
    # Dagster and pyarrow cost a second, which `energy --help` need not pay.
    from assets.datasets.ranges import export_month  # noqa: PLC0415
    from orchestration.datasets import backfill as making  # noqa: PLC0415
    from storage.stores import open_stores  # noqa: PLC0415

    settings = Settings.load()
    first, last = _range(settings, start, end)
    began = time.monotonic()
    with open_stores(settings) as stores, making.dagster_books(settings) as books:
        if unknown := dirty_days.unknown_devices(stores.session, device or ()):
            raise typer.BadParameter(f"there is no device {unknown[0]}, and no telemetry is known of one")
        wanted = making.device_days(stores, first, last, device)
        if not wanted:
            print(
                f"energy: no telemetry of {first} to {last} is known; `energy import` brings old files in",
                file=sys.stderr,
            )
        window = timedelta(days=max(int(settings.max_export_window_hours // 24), 1))
        with typer.progressbar(length=len(wanted), label=f"{first} to {last}", file=sys.stderr) as bar:
            done = making.backfill(stores, wanted, window, books, progress=bar.update, window_done=_tell_log)
        months = {(d.year, d.month, name) for d, name in wanted} if asset is Asset.telemetry_monthly else set()
        compacted = [made for year, month, name in sorted(months) if (made := export_month(stores, name, year, month))]
    seconds = time.monotonic() - began
    print(
        f"{done.written} files written, {done.unchanged} unchanged, {done.empty} days without readings,"
        f" {len(done.failed)} failed; {done.rows} readings, {done.bytes / 1e6:.1f} MB in {seconds:.1f} s"
    )
    if asset is Asset.telemetry_monthly:
        print(f"{sum(m.changed for m in compacted)} months written, {sum(not m.changed for m in compacted)} unchanged")
    for name, reason in done.failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if done.failed:
        raise typer.Exit(1)


def _tell_log(first: date, last: date, done: "Backfilled") -> None:
    """Where no progress bar is seen, a line for each window tells how far it is."""
    if not sys.stderr.isatty():
        counts = f"{done.written} files written, {done.unchanged} unchanged, {len(done.failed)} failed so far"
        print(f"{first} to {last}: {counts}", file=sys.stderr, flush=True)


def _range(settings: Settings, start: datetime, end: datetime) -> tuple[date, date]:
    first, last = start.date(), end.date()
    if first > last:
        raise typer.BadParameter(f"--from {first} lies after --to {last}")
    if first < settings.dataset_start_date:
        raise typer.BadParameter(
            f"--from {first} lies before DATASET_START_DATE={settings.dataset_start_date}; move that variable first"
        )
    if last > datetime.now(UTC).date():
        raise typer.BadParameter(f"--to {last} lies in the future")
    return first, last
