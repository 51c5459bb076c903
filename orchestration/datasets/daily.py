"""Telemetry becomes datasets: the daily asset and the two jobs that make it, lean while a day is open."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
from sqlmodel import Session, col, func, select

from assets.datasets import Exported, export_day
from assets.pictures import day_picture
from orchestration.metadata import api_page, code_version, dataset_lineage, dataset_schema, picture
from orchestration.partitions import days, devices
from orchestration.resources import Platform
from orchestration.shards import Shard
from storage import catalogue, dirty_days
from storage.catalogue import Dataset
from storage.dirty_days import DirtyDay
from storage.objects import ObjectStoreUnavailable
from storage.stores import Stores
from storage.telemetry import StoreUnavailable
from storage.times import utc_now

TELEMETRY = dg.AssetKey("telemetry")
TELEMETRY_DATASET = dg.AssetKey("telemetry_dataset")
DEVICE_HISTORY = dg.AssetKey("device_history")
MAX_NAMED = 5


class ExportConfig(Shard):
    """Which devices of the day; without any, all of the shard that have telemetry there.

    `only_touched` leaves out those with nothing new.
    """

    devices: list[str] = []  # noqa: RUF012 - Pydantic copies defaults
    only_touched: bool = False


telemetry = dg.AssetSpec(
    TELEMETRY,
    group_name="telemetry",
    kinds={"mqtt"},
    owners=["team:data"],
    description="Readings as devices published them over MQTT, in the telemetry store (PostgreSQL or InfluxDB): one per"
    " device and moment, the newest wins.",
)


@dg.asset(
    key=TELEMETRY_DATASET,
    deps=[telemetry],
    partitions_def=days,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="datasets",
    kinds={"parquet", "pyarrow"},
    owners=["team:data"],
    code_version=code_version(),
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1), warn_window=timedelta(hours=1)),
    metadata={
        "dagster/column_schema": dataset_schema(),
        "dagster/column_lineage": dataset_lineage(TELEMETRY),
        "REST": api_page(),
    },
    description="Telemetry of a UTC day: one Parquet file per device, atomic, the same bytes for the same readings."
    " The open day is brought up to date every minute; late data makes its day again.",
)
def telemetry_dataset(context: dg.AssetExecutionContext, config: ExportConfig, platform: Platform) -> None:
    """Bring the day's files up to date, device by device; a range of days is one run."""
    if not context.partition_keys:
        raise dg.Failure("the range holds no day; give the earlier day first")
    with platform.stores(context.run.run_id) as stores:
        failed: dict[str, Exception] = {}
        for key in context.partition_keys:
            day = date.fromisoformat(key)
            exported = _export(context, stores, day, devices_of(stores.session, day, config), failed)
            context.add_asset_metadata(day_facts(stores, day, exported), partition_key=key)
            observe_devices(context.instance, stores.session, day, exported)
        if failed:
            named = "; ".join(f"{name}: {error}" for name, error in list(failed.items())[:MAX_NAMED])
            raise dg.Failure(f"{len(failed)} files could not be made, the others are: {named}")


def _export(
    context: dg.AssetExecutionContext, stores: Stores, day: date, chosen: list[str], failed: dict[str, Exception]
) -> list[Exported]:
    """One device that cannot be exported does not hold the others; a store that is away ends the run."""
    exported = []
    for device_id in chosen:
        try:
            made = export_day(stores, device_id, day)
        except (ObjectStoreUnavailable, StoreUnavailable):
            raise
        except Exception as error:
            context.log.exception(f"{device_id} of {day} could not be exported")
            failed[f"{device_id} of {day}"] = error
        else:
            exported += [made] if made else []
    return exported


def devices_of(session: Session, day: date, config: ExportConfig) -> list[str]:
    """The devices that a run is to export."""
    if config.devices:
        return config.devices
    found = {row.device_id for row in dirty_days.waiting(session, day=day)}
    if not config.only_touched:
        found |= set(session.exec(select(DirtyDay.device_id).where(DirtyDay.day == day)))
    elif day < utc_now().date():
        found |= set(catalogue.unchecked_devices(session, day))
    return sorted(d for d in found if config.holds(d))


def day_facts(stores: Stores, day: date, exported: list[Exported]) -> dict[str, Any]:
    """What Dagster shows of a day; the picture only once it is closed, since an open day is made every minute."""
    rows, size, files = stores.session.exec(
        select(func.coalesce(func.sum(Dataset.rows), 0), func.coalesce(func.sum(Dataset.bytes), 0), func.count()).where(
            Dataset.start_date == day, Dataset.kind == "day", col(Dataset.superseded_at).is_(None)
        )
    ).one()
    facts: dict[str, Any] = {
        "dagster/partition_row_count": int(rows),
        "bytes": int(size),
        "devices": files,
        "files written": sum(e.changed for e in exported),
        "files unchanged": sum(not e.changed for e in exported),
        "dagster/uri": f"{stores.objects.address}/datasets/*/{day:%Y%m%d}_{day:%Y%m%d}.parquet",
    }
    if files and day < utc_now().date():
        facts["the day"] = picture(day_picture(stores, day))
        facts["dagster/column_lineage"] = dataset_lineage(TELEMETRY)
    return facts


def observe_devices(instance: dg.DagsterInstance, session: Session, day: date, exported: list[Exported]) -> None:
    """Tell Dagster which devices' history changed, so that their results are stale; the open day's growth is none."""
    today = utc_now().date()
    if day >= today:
        return
    for device_id in (e.dataset.device_id for e in exported):
        version = catalogue.history_version(session, device_id, before=today)
        tags = {"dagster/data_version": version}
        instance.report_runless_asset_event(dg.AssetObservation(DEVICE_HISTORY, partition=device_id, tags=tags))


device_history = dg.AssetSpec(
    DEVICE_HISTORY,
    deps=[TELEMETRY_DATASET],
    partitions_def=devices,
    group_name="datasets",
    kinds={"parquet"},
    owners=["team:data"],
    description="A device's closed days as a whole. Its version changes with late data and with each day that closes,"
    " which makes the device's results stale.",
)

dataset_job = dg.define_asset_job(
    "dataset_job",
    selection=dg.AssetSelection.assets(TELEMETRY_DATASET).without_checks(),
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "export"},
    description="Brings the files of the open day up to date; the sensor `export_touched_days` asks for it.",
)
closed_day_job = dg.define_asset_job(
    "closed_day_job",
    selection=dg.AssetSelection.assets(TELEMETRY_DATASET),
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "export"},
    description="Makes a day that closed, or that late data touched, and checks it; asked for by the same sensor.",
)
