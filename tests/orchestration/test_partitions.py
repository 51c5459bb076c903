"""Programs can ask Dagster for runs of any partition, and of none. Such a run fails and says what to choose."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from orchestration.datasets.daily import ExportConfig, devices_to_export, telemetry_dataset
from orchestration.datasets.monthly import telemetry_monthly
from orchestration.datasets.observations import TELEMETRY_DATASET
from orchestration.definitions import defs
from orchestration.jobs.exports import export_job
from orchestration.partitions import first_day
from storage.job_runs import PARTITION_TAG
from storage.stores import Stores
from storage.times import utc_now
from tests.support.plant import DAY, reading, store

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def range_of(first: date, last: date) -> dict[str, str]:
    return dict(zip(RANGE, (f"{first}", f"{last}"), strict=True))


@pytest.mark.parametrize(
    ("asset", "tags", "reason"),
    [
        (telemetry_dataset, {}, "The run has no partition. Choose a day, or a range of days."),
        (telemetry_dataset, {PARTITION_TAG: "2999-01-01"}, "2999-01-01 is in the future."),
        (telemetry_dataset, {PARTITION_TAG: "1999-01-01"}, f"1999-01-01 is before {first_day}"),
        (telemetry_dataset, range_of(date(2026, 2, 14), date(2026, 2, 12)), "Give the earlier day first."),
        (telemetry_monthly, {}, "The run has no partition. Choose a month, or a range of months."),
        (telemetry_monthly, {PARTITION_TAG: "2999-01-01"}, "2999-01 is not over"),
        (telemetry_monthly, {PARTITION_TAG: "1999-01-01"}, f"1999-01 is before {first_day:%Y-%m}"),
    ],
)
@pytest.mark.usefixtures("stores")
def test_a_partition_that_does_not_exist_is_refused_in_words(
    instance: dg.DagsterInstance, asset: Any, tags: dict[str, str], reason: str
) -> None:
    assert reason in failure_of(asset, instance, tags)
    assert instance.get_latest_materialization_event(asset.key) is None


def failure_of(asset: Any, instance: dg.DagsterInstance, tags: dict[str, str], config: Any = None) -> str:
    job = defs().resolve_job_def("monthly_job" if asset is telemetry_monthly else "dataset_job")
    run_config = dg.RunConfig(ops={asset.key.path[-1]: config}) if config else None
    with pytest.raises(dg.Failure) as failed:
        job.execute_in_process(instance=instance, tags=tags, run_config=run_config)
    return failed.value.description or ""


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (ExportConfig(devices=["D1", "D-1"]), "devices: D-1 is not registered and has no telemetry."),
        (ExportConfig(devices=["D-2", "D-1"]), "devices: D-2, D-1 are not registered and have no telemetry."),
        (ExportConfig(shard=5), "shard 5 of 1 shards does not exist."),
    ],
)
def test_a_run_that_would_export_nothing_is_refused(
    stores: Stores, instance: dg.DagsterInstance, config: ExportConfig, reason: str
) -> None:
    store(stores, reading(0))
    assert reason in failure_of(telemetry_dataset, instance, {PARTITION_TAG: "2026-02-12"}, config)
    assert instance.get_latest_materialization_event(TELEMETRY_DATASET) is None


def test_a_device_that_is_named_twice_is_exported_once(stores: Stores) -> None:
    assert devices_to_export(stores.session, DAY, ExportConfig(devices=["D2", "D1", "D2"])) == ["D1", "D2"]


def test_an_export_job_without_a_job_says_how_to_ask_for_one(stores: Stores, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match="Request an export with POST"):
        defs().resolve_job_def(export_job.name).execute_in_process(instance=instance)


def test_a_night_is_launched_by_hand_with_the_launchpads_defaults(stores: Stores, instance: dg.DagsterInstance) -> None:
    night = defs().resolve_job_def("nightly_job")
    assert night.execute_in_process(instance=instance).success
    for last, reason in ((f"{utc_now().date() + timedelta(days=1)}", "has not closed"), ("12.02.2026", "is not a day")):
        with pytest.raises(dg.Failure, match=reason):
            night.execute_in_process(
                instance=instance, run_config={"ops": {"analyse_shard": {"config": {"last": last}}}}
            )
