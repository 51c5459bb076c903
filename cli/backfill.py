"""`energy backfill`: make the datasets of past days, or make them again."""

import sys
import time
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.days import day_option
from storage.settings import Settings

if TYPE_CHECKING:
    from orchestration.datasets.backfill import Backfilled


class Asset(StrEnum):
    """What a backfill can make."""

    telemetry_dataset = "telemetry_dataset"
    telemetry_monthly = "telemetry_monthly"


def backfill(
    first: Annotated[date, day_option("--from", "The first UTC day.")],
    last: Annotated[date, day_option("--to", "The last UTC day, inclusive.")],
    device: Annotated[list[str] | None, typer.Option(help="Only this device. Repeat for several.")] = None,
    asset: Annotated[Asset, typer.Option(help="What to make.")] = Asset.telemetry_dataset,
) -> None:
    """Make the datasets of past days. Files that are already up to date are left as they are."""
    from orchestration.datasets import backfill as making
    from orchestration.settings import OrchestrationSettings
    from storage import dirty_days
    from storage.stores import open_stores

    settings = Settings.load()
    _check_range(settings, first, last)
    began = time.monotonic()
    with open_stores(settings) as stores, making.dagster_instance(settings) as instance:
        if unknown := dirty_days.unknown_devices(stores.session, device or ()):
            raise typer.BadParameter(f"device {unknown[0]} is not registered and has no telemetry")
        wanted = making.find_device_days(stores, first, last, device)
        if not wanted:
            print(
                f"energy: there is no telemetry from {first} to {last}; `energy import` loads old files",
                file=sys.stderr,
            )
        window = timedelta(days=max(int(OrchestrationSettings.load().max_export_window_hours // 24), 1))
        with typer.progressbar(length=len(wanted), label=f"{first} to {last}", file=sys.stderr) as bar:
            done = making.backfill(stores, wanted, window, instance, progress=bar.update, window_done=_report_window)
        of_months = wanted if asset is Asset.telemetry_monthly else []
        compacted, open_months = making.compact(stores, of_months, instance)
    seconds = time.monotonic() - began
    print(
        f"{done.written} files written, {done.unchanged} unchanged, {done.empty} days without readings,"
        f" {len(done.failed)} failed; {done.rows} readings, {done.bytes / 1e6:.1f} MB in {seconds:.1f} s"
    )
    if asset is Asset.telemetry_monthly:
        print(f"{sum(m.changed for m in compacted)} months written, {sum(not m.changed for m in compacted)} unchanged")
    for month in open_months:
        print(f"{month:%Y-%m} is still open and was not merged", file=sys.stderr)
    for name, reason in done.failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if done.failed:
        raise typer.Exit(1)


def _report_window(first: date, last: date, done: "Backfilled") -> None:
    """Print a line for each window where no progress bar is shown."""
    if not sys.stderr.isatty():
        counts = f"{done.written} files written, {done.unchanged} unchanged, {len(done.failed)} failed so far"
        print(f"{first} to {last}: {counts}", file=sys.stderr, flush=True)


def _check_range(settings: Settings, first: date, last: date) -> None:
    if first > last:
        raise typer.BadParameter(f"--from {first} is after --to {last}")
    if settings.dataset_start_date and first < settings.dataset_start_date:
        raise typer.BadParameter(
            f"--from {first} is before DATASET_START_DATE={settings.dataset_start_date};"
            " set that variable to an earlier day"
        )
    if last > datetime.now(UTC).date():
        raise typer.BadParameter(f"--to {last} is in the future")
