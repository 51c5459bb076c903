"""Backfill from the command line: datasets of many days, made outside Dagster's queue and reported to Dagster."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby

import dagster as dg

from assets.datasets import Exported, days_between, export_day, export_month
from orchestration.datasets.checks import record_checks, shows_checks
from orchestration.datasets.daily import day_metadata
from orchestration.datasets.monthly import month_metadata
from orchestration.datasets.observations import TELEMETRY_DATASET, observing
from storage import dirty_days
from storage.settings import Settings
from storage.stores import Stores
from storage.times import utc_now

MONTHLY = dg.AssetKey("telemetry_monthly")


@dataclass
class Backfilled:
    """What a backfill has done so far; `failed` has the error of each device and day."""

    written: int = 0
    unchanged: int = 0
    empty: int = 0
    rows: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def find_device_days(
    stores: Stores, start: date, end: date, device_ids: Collection[str] | None
) -> list[tuple[date, str]]:
    """The days and devices to export: every day of the given devices, or all device-days with telemetry."""
    if device_ids is None:
        return dirty_days.known_days(stores.session, start, end)
    return [(day, device_id) for day in days_between(start, end) for device_id in sorted(set(device_ids))]


def backfill(
    stores: Stores,
    device_days: list[tuple[date, str]],
    window: timedelta,
    instance: dg.DagsterInstance | None,
    *,
    progress: Callable[[int], None],
    window_done: Callable[[date, date, Backfilled], None],
) -> Backfilled:
    """Export device-days, which are sorted by day, and report each day to Dagster.

    `progress` is called with the number of device-days that are done since the last call. `window_done` is called
    after each window of days with its first day, its last day, and the result so far. A backfill that was interrupted
    can be repeated: files that exist already stay unchanged.
    """
    result = Backfilled()
    first = device_days[0][0] if device_days else date.min
    with observing(instance, stores.session) as observed:
        for number, of_window in groupby(device_days, lambda pair: (pair[0] - first) // window):
            for day, of_day in groupby(of_window, lambda pair: pair[0]):
                exported = list(_export(stores, day, [device_id for _, device_id in of_day], result, progress))
                observed.add(day, exported)
                if instance and exported:
                    _report(instance, stores, day, exported)
            begin = first + number * window
            window_done(begin, min(begin + window - timedelta(days=1), device_days[-1][0]), result)
    return result


def _export(
    stores: Stores, day: date, device_ids: list[str], result: Backfilled, progress: Callable[[int], None]
) -> Iterator[Exported]:
    for device_id in device_ids:
        try:
            exported = export_day(stores, device_id, day)
        except Exception as error:  # noqa: BLE001 - one file that cannot be made does not end a backfill of a year
            result.failed[f"{device_id} {day}"] = f"{type(error).__name__}: {error}"
        else:
            if exported is None:
                result.empty += 1
            else:
                result.written += exported.changed
                result.unchanged += not exported.changed
                result.rows += exported.dataset.rows
                result.bytes += exported.dataset.bytes
                yield exported
        progress(1)


def _report(instance: dg.DagsterInstance, stores: Stores, day: date, exported: list[Exported]) -> None:
    """Report a day with its checks, unless nothing has changed and Dagster shows all of it."""
    if not any(file.changed for file in exported) and shows_checks(instance, stores.session, day):
        return
    metadata = day_metadata(stores, day, exported)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(TELEMETRY_DATASET, partition=day.isoformat(), metadata=metadata)
    )
    record_checks(instance, stores.session, day)


def compact(
    stores: Stores, device_days: Collection[tuple[date, str]], instance: dg.DagsterInstance | None
) -> tuple[list[Exported], list[date]]:
    """Merge the closed months of device-days, and report each month that is new or changed to Dagster.

    Returns the months' files, and the first days of the months that are still open and therefore left as they are.
    """
    months = sorted({(day.replace(day=1), device_id) for day, device_id in device_days})
    this_month = utc_now().date().replace(day=1)
    known = instance.get_materialized_partitions(MONTHLY) if instance else set()
    files: list[Exported] = []
    for month, of_month in groupby((pair for pair in months if pair[0] < this_month), lambda pair: pair[0]):
        made = [export_month(stores, device_id, month.year, month.month) for _, device_id in of_month]
        written = [file for file in made if file]
        if instance and written and (month.isoformat() not in known or any(file.changed for file in written)):
            metadata = month_metadata(stores, month, written)
            instance.report_runless_asset_event(
                dg.AssetMaterialization(MONTHLY, partition=month.isoformat(), metadata=metadata)
            )
        files += written
    return files, sorted({month for month, _ in months if month >= this_month})


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance | None]:
    """The Dagster instance of the platform's home; None if the platform was never started there."""
    if not (settings.dagster_home / "dagster.yaml").exists():
        yield None
        return
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        yield instance
