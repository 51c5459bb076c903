"""Datasets of many days made again from the command line: past Dagster's queue, on its books all the same."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby

import dagster as dg

from assets.datasets import Exported, days_between, export_day
from orchestration.datasets.daily import TELEMETRY_DATASET, day_facts, observe_devices
from storage import dirty_days
from storage.settings import Settings
from storage.stores import Stores


@dataclass
class Backfilled:
    """What a backfill did; `failed` says why for each device and day."""

    written: int = 0
    unchanged: int = 0
    empty: int = 0
    rows: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def device_days(stores: Stores, start: date, end: date, device_ids: Collection[str] | None) -> list[tuple[date, str]]:
    """What is to be made: of devices that are named every day, else whatever telemetry is known of."""
    if device_ids is None:
        return dirty_days.known_days(stores.session, start, end)
    return [(day, device_id) for day in days_between(start, end) for device_id in sorted(set(device_ids))]


def backfill(
    stores: Stores,
    wanted: list[tuple[date, str]],
    window: timedelta,
    instance: dg.DagsterInstance | None,
    *,
    progress: Callable[[int], None],
    window_done: Callable[[date, date, Backfilled], None],
) -> Backfilled:
    """Make the files of days and devices (ascending), window by window of days, each day on Dagster's books at once.

    `window_done` is told the days of each window that is done, and what was done until then. Ended anywhere and
    begun again it does what is left: files that stand there already are unchanged.
    """
    done = Backfilled()
    first = wanted[0][0] if wanted else date.min
    for number, of_window in groupby(wanted, lambda pair: (pair[0] - first) // window):
        for day, of_day in groupby(of_window, lambda pair: pair[0]):
            exported = list(_exported(stores, day, [device_id for _, device_id in of_day], done, progress))
            if instance and exported:
                _report(instance, stores, day, exported)
        begin = first + number * window
        window_done(begin, min(begin + window - timedelta(days=1), wanted[-1][0]), done)
    return done


def _exported(
    stores: Stores, day: date, device_ids: list[str], done: Backfilled, progress: Callable[[int], None]
) -> Iterator[Exported]:
    for device_id in device_ids:
        try:
            made = export_day(stores, device_id, day)
        except Exception as error:  # noqa: BLE001 - one file that cannot be made does not end a backfill of a year
            done.failed[f"{device_id} {day}"] = f"{type(error).__name__}: {error}"
        else:
            if made is None:
                done.empty += 1
            else:
                done.written += made.changed
                done.unchanged += not made.changed
                done.rows += made.dataset.rows
                done.bytes += made.dataset.bytes
                yield made
        progress(1)


def _report(instance: dg.DagsterInstance, stores: Stores, day: date, exported: list[Exported]) -> None:
    facts = day_facts(stores, day, exported)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(TELEMETRY_DATASET, partition=day.isoformat(), metadata=facts)
    )
    observe_devices(instance, stores.session, day, exported)


@contextmanager
def dagster_books(settings: Settings) -> Iterator[dg.DagsterInstance | None]:
    """The Dagster of this home, if there was ever one."""
    if not (settings.dagster_home / "dagster.yaml").exists():
        yield None
        return
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        yield instance
