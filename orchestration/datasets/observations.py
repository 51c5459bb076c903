"""Observations of what no run makes: the telemetry, and the history of each device that its closed days are.

Each is written once for each change, with what there is now.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import dagster as dg
from sqlmodel import Session

from assets.datasets import Exported
from orchestration.metadata import api_page, device_pages, files_page
from storage import catalogue
from storage.catalogue import Totals
from storage.times import microseconds, utc_now

log = logging.getLogger(__name__)

TELEMETRY = dg.AssetKey("telemetry")
TELEMETRY_DATASET = dg.AssetKey("telemetry_dataset")
DEVICE_HISTORY = dg.AssetKey("device_history")
DATA_VERSION_TAG = "dagster/data_version"
# Telemetry has no data version: with one, all of its datasets would be stale whenever a reading comes.
TOTALS_TAG = "energy/totals"
# What has come since the last observation, if only the open day has grown, is written no more often.
PAUSE = timedelta(hours=1)


class Observed:
    """Collects the devices of which closed days were exported, and whether a file of them has changed."""

    def __init__(self) -> None:
        self.devices: set[str] = set()
        self.changed = False

    def add(self, day: date, exported: Iterable[Exported]) -> None:
        """Add the devices of a day; the open day is not part of their history."""
        if day < utc_now().date():
            for file in exported:
                self.devices.add(file.dataset.device_id)
                self.changed |= file.changed


@contextmanager
def observing(instance: dg.DagsterInstance | None, session: Session) -> Iterator[Observed]:
    """Report what the exports of the block have changed when it ends, whatever ends it: one event for each device.

    If no closed day has changed, telemetry is not reported within an hour of its last observation.
    """
    observed = Observed()
    try:
        yield observed
    except BaseException:
        try:
            _report(observed, instance, session)
        except Exception:
            log.exception("what was exported before the error could not be reported to Dagster")
        raise
    _report(observed, instance, session)


def _report(observed: Observed, instance: dg.DagsterInstance | None, session: Session) -> None:
    if instance:
        _observe_devices(instance, session, sorted(observed.devices))
        _observe_telemetry(instance, session, at_once=observed.changed)


def _observe_devices(instance: dg.DagsterInstance, session: Session, device_ids: Iterable[str]) -> None:
    """Report each device's history if its data version is new, so that its results become stale."""
    # Not as a materialization: of an asset that no run makes, Dagster compares the versions of observations only.
    today = utc_now().date()
    for device_id in device_ids:
        version = catalogue.history_version(session, device_id, before=today)
        of_device = dg.AssetRecordsFilter(DEVICE_HISTORY, asset_partitions=[device_id])
        if _tag(instance.fetch_observations(of_device, limit=1).records, DATA_VERSION_TAG) == version:
            continue
        totals = catalogue.totals(session, device_id=device_id, before=today)
        metadata = {**_metadata(totals), **device_pages(device_id), "files": files_page(device_id), "hash": version}
        tags = {DATA_VERSION_TAG: version}
        event = dg.AssetObservation(DEVICE_HISTORY, partition=device_id, metadata=metadata, tags=tags)
        instance.report_runless_asset_event(event)


def _observe_telemetry(instance: dg.DagsterInstance, session: Session, *, at_once: bool) -> None:
    """Report what telemetry there is, as far as it is exported, if that has changed."""
    records = instance.fetch_observations(TELEMETRY, limit=1).records
    if records and not at_once and utc_now().timestamp() - records[0].timestamp < PAUSE.total_seconds():
        return
    totals = catalogue.totals(session)
    version = f"{totals.days}-{totals.rows}-{microseconds(totals.newest) if totals.newest else 0}"
    if _tag(records, TOTALS_TAG) == version:
        return
    metadata = {"devices": totals.devices, **_metadata(totals), "REST API": api_page("/docs#/telemetry")}
    instance.report_runless_asset_event(dg.AssetObservation(TELEMETRY, metadata=metadata, tags={TOTALS_TAG: version}))


def _tag(newest: Sequence[dg.EventLogRecord], name: str) -> str | None:
    """A tag of the newest observation, if there is one."""
    observation = newest[0].asset_observation if newest else None
    return observation.tags.get(name) if observation else None


def _metadata(totals: Totals) -> dict[str, Any]:
    return {
        "days": totals.days,
        "dagster/row_count": totals.rows,
        **({"newest reading": dg.MetadataValue.timestamp(totals.newest)} if totals.newest else {}),
    }
