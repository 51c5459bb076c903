"""Observations of what no run makes: the telemetry, and the history of each device that its closed days are.

Each is written once for each change, with what there is now.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
from sqlmodel import Session

from assets.datasets import Exported
from orchestration.metadata import api_page, device_pages, files_page
from storage import catalogue
from storage.catalogue import Totals
from storage.times import microseconds, utc_now

TELEMETRY = dg.AssetKey("telemetry")
DEVICE_HISTORY = dg.AssetKey("device_history")
DATA_VERSION_TAG = "dagster/data_version"
# Telemetry has no data version: with one, all of its datasets would be stale whenever a reading comes.
TOTALS_TAG = "energy/totals"
# Runs of the open day write what has come since the last observation no more often.
PAUSE = timedelta(hours=1)


def observe_devices(instance: dg.DagsterInstance, session: Session, day: date, exported: Iterable[Exported]) -> None:
    """Report the history of each device of which a day was exported, if it has changed, so that its results are stale.

    The open day is not part of the history.
    """
    today = utc_now().date()
    if day >= today:
        return
    for device_id in (file.dataset.device_id for file in exported):
        version = catalogue.history_version(session, device_id, before=today)
        of_device = dg.AssetRecordsFilter(DEVICE_HISTORY, asset_partitions=[device_id])
        if _tag(instance.fetch_observations(of_device, limit=1).records, DATA_VERSION_TAG) == version:
            continue
        totals = catalogue.totals(session, device_id=device_id, before=today)
        metadata = {**_metadata(totals), **device_pages(device_id), "files": files_page(device_id), "hash": version}
        tags = {DATA_VERSION_TAG: version}
        event = dg.AssetObservation(DEVICE_HISTORY, partition=device_id, metadata=metadata, tags=tags)
        instance.report_runless_asset_event(event)


def observe_telemetry(instance: dg.DagsterInstance, session: Session, *, at_once: bool = True) -> None:
    """Report what telemetry there is, as far as it is exported, if that has changed.

    Without `at_once`, nothing is reported within an hour of the last observation.
    """
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
