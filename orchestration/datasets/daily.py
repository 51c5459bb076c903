"""Telemetry becomes datasets: the daily asset and its two jobs, one for the open day and one for closed days."""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field
from sqlmodel import Session

from assets.datasets import Exported, TelemetryReader, energy_of, export_day, state_totals_of
from assets.energy import EnergyFigures, StateFigures, counted_devices, standby
from assets.pictures import day_picture
from orchestration.datasets.checks import record_checks, show_checks_of_closed_days
from orchestration.datasets.observations import DEVICE_HISTORY, TELEMETRY, TELEMETRY_DATASET, observing
from orchestration.datasets.partition_range import PartitionRange
from orchestration.metadata import (
    api_page,
    code_version,
    dataset_lineage,
    dataset_schema,
    files_metadata,
    hash_of,
    picture,
)
from orchestration.partitions import days, days_of_run, devices
from orchestration.resources import Platform
from orchestration.shards import Shard
from storage import catalogue, checked_days, dirty_days
from storage.devices import parents_of
from storage.stores import Stores
from storage.times import DAY, HOUR, microseconds, midnight, utc_now

MAX_ENERGY_DEVICES = 100
UTC = ZoneInfo("UTC")


class ExportConfig(Shard):
    """Which of the day's devices to export."""

    devices: Annotated[
        list[str], Field(description="The devices to export. By default, all of the shard that have telemetry.")
    ] = []  # noqa: RUF012 - Pydantic copies defaults
    only_touched: Annotated[
        bool, Field(description="Whether devices without new telemetry are left out, unless they are named.")
    ] = False


telemetry = dg.AssetSpec(
    TELEMETRY,
    group_name="telemetry",
    kinds={"mqtt"},
    owners=["team:data"],
    description="The readings that devices published over MQTT, in the telemetry store (PostgreSQL or InfluxDB)."
    " There is one reading per device and timestamp; the newest replaces older ones.",
)


@dg.asset(
    key=TELEMETRY_DATASET,
    deps=[telemetry],
    partitions_def=days,
    hooks={show_checks_of_closed_days},
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="datasets",
    kinds={"parquet", "pyarrow"},
    owners=["team:data"],
    code_version=code_version(),
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1), warn_window=timedelta(hours=1)),
    metadata={
        "dagster/column_schema": dataset_schema(),
        "dagster/column_lineage": dataset_lineage(TELEMETRY),
        "REST API": api_page(),
    },
    description="The telemetry of a UTC day: one Parquet file per device, written atomically. Equal readings give"
    " identical files. The open day is updated every minute; late data updates its day again.",
)
def telemetry_dataset(context: dg.AssetExecutionContext, config: ExportConfig, platform: Platform) -> None:
    """Update the day's files, device by device; a range of days is one run."""
    config.check()
    with platform.stores(context.run.run_id) as stores:
        if unknown := dirty_days.unknown_devices(stores.session, config.devices):
            are = "is not registered and has" if len(unknown) == 1 else "are not registered and have"
            raise dg.Failure(f"devices: {', '.join(unknown)} {are} no telemetry.", allow_retries=False)
        run = PartitionRange(context, stores, "day", days_of_run(context.run.tags))
        with (
            run.reported(also=partial(record_checks, context.instance, stores.session)),
            observing(context.instance, stores.session) as observed,
        ):
            for day in run.partitions:
                device_ids = devices_to_export(stores.session, day, config)
                exported = run.export(day, device_ids, partial(export_day, stores, day=day))
                observed.add(day, exported)
                if run.is_whole(day):
                    run.add(day, day_metadata(stores, day, exported))


def devices_to_export(session: Session, day: date, config: ExportConfig) -> list[str]:
    """The devices that a run with this configuration exports."""
    if config.devices:
        return sorted(set(config.devices))
    device_ids = {row.device_id for row in dirty_days.waiting(session, day=day)}
    if not config.only_touched:
        device_ids.update(dirty_days.devices_of_day(session, day))
    elif day < utc_now().date():
        device_ids.update(checked_days.unchecked_devices(session, day))
    return sorted(device_id for device_id in device_ids if config.holds(device_id))


def day_metadata(stores: Stores, day: date, exported: list[Exported]) -> dict[str, Any]:
    """What Dagster shows of a day. An open day has no chart, since it is materialized every minute."""
    files, rows, size, hashes = catalogue.day_totals(stores.session, day)
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": rows,
        "bytes": size,
        "devices": files,
        "files written": sum(file.changed for file in exported),
        "files unchanged": sum(not file.changed for file in exported),
        "period": day.isoformat(),
    }
    if files:
        metadata["sha256"] = hash_of(hashes)
        metadata["data of all machines"] = api_page(f"/data?end_date={day}")
        metadata["dagster/uri"] = f"{stores.objects.address}/datasets/*/{day:%Y%m%d}_{day:%Y%m%d}.parquet"
    if files and day < utc_now().date():
        metadata |= files_metadata(catalogue.of_day(stores.session, day))
        metadata["chart"] = picture(day_picture(stores, day))
        metadata["dagster/column_lineage"] = dataset_lineage(TELEMETRY)
        metadata |= energy_metadata(stores, day)
    return metadata


def energy_metadata(stores: Stores, day: date) -> dict[str, Any]:
    """The day's energy by device, and its sum, in which a parent or its children count.

    None of a fleet that is too large to list.
    """
    device_ids = catalogue.devices_of_days(stores.session, day, day)
    if len(device_ids) > MAX_ENERGY_DEVICES:
        return {}
    start = microseconds(midnight(day))
    energies: dict[str, EnergyFigures] = {}
    states: dict[str, StateFigures] = {}
    for device_id in device_ids:
        reader = TelemetryReader(stores.session, stores.telemetry, stores.objects)
        energies[device_id] = energy_of(stores.session, reader, device_id, start, start + DAY, files_only=True)
        if found := state_totals_of(stores.session, reader, device_id, start, start + DAY):
            states[device_id] = found
    measured = {device_id: energy.kwh for device_id, energy in energies.items() if energy.kwh is not None}
    if not measured:
        return {}
    counted = counted_devices(device_ids, parents_of(stores.session, device_ids), measured).devices
    records = [
        dg.TableRecord(
            {
                "device": device_id,
                "kWh": kwh,
                "coverage": energies[device_id].coverage,
                "source": energies[device_id].source,
                "base load (W)": standby(energies[device_id], (), UTC).base_load,
                "in the sum": device_id in counted,
            }
        )
        for device_id, kwh in measured.items()
    ]
    return {
        "energy (kWh)": round(sum(measured[device_id] for device_id in counted), 6),
        "energy": dg.MetadataValue.table(records),
        **({"states": dg.MetadataValue.table(_state_records(states))} if states else {}),
    }


def _state_records(states: Mapping[str, StateFigures]) -> list[dg.TableRecord]:
    """Hours and energy of the states that machines with declared thresholds were in."""
    return [
        dg.TableRecord({"device": device_id, "state": state, "hours": time / HOUR, "kWh": found.kwh(state)})
        for device_id, found in states.items()
        for state, time in found.time.items()
        if time
    ]


device_history = dg.AssetSpec(
    DEVICE_HISTORY,
    deps=[TELEMETRY_DATASET],
    partitions_def=devices,
    group_name="datasets",
    kinds={"parquet"},
    owners=["team:data"],
    description="All closed days of a device. Its data version changes when a day closes and when late data arrives;"
    " the device's results then become stale. No run makes it: Dagster counts its partitions as missing, and the events"
    " of a device say how many days and readings it has.",
)
