"""Each way to launch a run of days in Dagster shows the checks that the catalogue has of them."""

from datetime import timedelta

import dagster as dg
import pytest

from assets.quality import QUALITY_CHECKS
from orchestration.datasets.checks import day_quality
from orchestration.datasets.daily import telemetry_dataset
from orchestration.datasets.observations import TELEMETRY_DATASET
from orchestration.definitions import defs
from orchestration.resources import Platform
from storage.stores import Stores
from tests.orchestration.datasets.test_daily import catalogued, export, newest_event, shown_checks
from tests.support.plant import DAY, DAY_MINUTES, reading, store

NEXT = DAY + timedelta(days=1)


def range_tags(first: object, last: object) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": f"{first}", "dagster/asset_partition_range_end": f"{last}"}


@pytest.mark.parametrize("last", [DAY, NEXT])
def test_a_range_shows_each_days_checks_and_no_result_without_a_day(
    stores: Stores, kept_instance: dg.DagsterInstance, last: object
) -> None:
    """Dagster backfills scattered days as ranges of one day."""
    store(stores, reading(0), reading(DAY_MINUTES))
    run = defs().resolve_job_def("closed_day_job")
    assert run.execute_in_process(instance=kept_instance, tags=range_tags(DAY, last)).success
    assert shown_checks(kept_instance, DAY) == catalogued(stores, DAY)
    for kind in QUALITY_CHECKS:  # the newest result is what the page of a check shows
        assert newest_result(kept_instance, kind) == f"{last}"


def newest_result(instance: dg.DagsterInstance, kind: str) -> str | None:
    history = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(TELEMETRY_DATASET, kind), limit=1
    )
    return history[0].partition


def test_an_asset_that_is_materialized_without_its_checks_shows_them(
    stores: Stores, platform: Platform, kept_instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0))
    for _ in range(2):  # the second one changes no file
        assert export(kept_instance, platform, f"{DAY}").success
        assert shown_checks(kept_instance, DAY) == catalogued(stores, DAY)


def test_one_check_that_is_run_with_its_asset_leaves_the_others_shown(
    stores: Stores, platform: Platform, kept_instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0))
    job = dg.Definitions(
        [telemetry_dataset],
        asset_checks=[day_quality],
        resources={"platform": platform},
        jobs=[
            dg.define_asset_job(
                "some",
                dg.AssetSelection.assets(TELEMETRY_DATASET).without_checks()
                | dg.AssetSelection.checks(dg.AssetCheckKey(TELEMETRY_DATASET, "gaps")),
                executor_def=dg.in_process_executor,
            )
        ],
    ).resolve_job_def("some")
    assert job.execute_in_process(instance=kept_instance, partition_key=f"{DAY}").success
    assert shown_checks(kept_instance, DAY) == catalogued(stores, DAY)


def test_a_run_that_plans_its_checks_records_each_once(stores: Stores, kept_instance: dg.DagsterInstance) -> None:
    store(stores, reading(0))
    assert defs().resolve_job_def("closed_day_job").execute_in_process(
        instance=kept_instance, partition_key=f"{DAY}"
    ).success  # fmt: skip
    results = kept_instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(TELEMETRY_DATASET, "gaps"), limit=10
    )
    assert [(result.partition, result.status.value) for result in results] == [(f"{DAY}", "SUCCEEDED")]


def test_checks_without_a_partition_are_those_of_the_newest_checked_day(
    stores: Stores, platform: Platform, kept_instance: dg.DagsterInstance
) -> None:
    """The button "Execute all" of a partitioned asset's checks launches such a run."""
    store(stores, reading(0), reading(DAY_MINUTES))
    for day in (DAY, NEXT):
        export(kept_instance, platform, f"{day}")
    checks_alone = dg.Definitions(
        [telemetry_dataset],
        asset_checks=[day_quality],
        resources={"platform": platform},
        jobs=[dg.define_asset_job("checks", dg.AssetSelection.all_asset_checks(), executor_def=dg.in_process_executor)],
    ).resolve_job_def("checks")
    before = newest_event(kept_instance)
    assert checks_alone.execute_in_process(instance=kept_instance).success
    assert newest_event(kept_instance) > before
    assert newest_result(kept_instance, "gaps") == f"{NEXT}"
    for day in (DAY, NEXT):
        assert shown_checks(kept_instance, day) == catalogued(stores, day)
