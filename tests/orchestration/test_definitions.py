import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import pytest
import yaml
from sqlalchemy.orm import configure_mappers
from syrupy.assertion import SnapshotAssertion

from assets.analyses import ANALYSES, AnalysisType
from orchestration.analyses.nightly import NIGHT_TAG
from orchestration.definitions import defs
from storage import catalogue
from storage.job_runs import JOB_TAG, LONG_TAG, TENANT_TAG, dagster_job_of, partition_of
from storage.jobs import JOB_TABLES, AnalyticsJob, Job
from storage.settings import CHECKOUT, Settings
from storage.stores import Stores
from tests.support.plant import DAY_MINUTES, reading, store


def config_fields(op: dg.OpDefinition) -> list[str]:
    """The keys of an op's run config, without those of inner objects."""
    return sorted(getattr(op.config_schema.as_field().config_type, "fields", {}))


def partitions(definition: dg.PartitionsDefinition[str] | None) -> str | None:
    if isinstance(definition, dg.DynamicPartitionsDefinition):
        return f"dynamic: {definition.name}"
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        start = f"{definition.start:%Y-%m-%d} {definition.timezone}"
        return f"{definition.cron_schedule} from {start}, end offset {definition.end_offset}"
    assert definition is None
    return None


def assets(definitions: dg.Definitions) -> dict[str, Any]:
    return {
        spec.key.to_user_string(): {
            "description": spec.description,
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "partitions": partitions(spec.partitions_def),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "owners": sorted(spec.owners),
            "automation": spec.automation_condition and str(spec.automation_condition),
            "freshness": spec.freshness_policy and type(spec.freshness_policy).__name__,
            "metadata": sorted(spec.metadata),
        }
        for spec in definitions.resolve_all_asset_specs()
    }


def checks(definitions: dg.Definitions) -> dict[str, Any]:
    return {
        spec.key.to_user_string(): {
            "description": spec.description,
            "partitions": partitions(spec.partitions_def),
            "blocking": spec.blocking,
        }
        for check in definitions.asset_checks or ()
        for spec in check.check_specs
    }


def jobs(definitions: dg.Definitions) -> dict[str, Any]:
    return {
        job.name: {
            "description": job.description,
            "tags": dict(job.tags),
            "assets": sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys),
            "checks": sorted(key.name for key in job.asset_layer.asset_graph.asset_check_keys),
            "ops": {node.name: node.definition.description for node in job.graph.node_dict.values()},
            "partitions": partitions(job.partitions_def),
            "executor": job.executor_def.name,
            "run config": {
                node.name: config_fields(node.definition)
                for node in job.graph.node_dict.values()
                if isinstance(node.definition, dg.OpDefinition)
            },
        }
        for job in definitions.resolve_all_job_defs()
        if job.name != "__ASSET_JOB"
    }


def schedules(definitions: dg.Definitions) -> dict[str, Any]:
    repository = definitions.get_repository_def()
    return {
        schedule.name: {
            "description": schedule.description,
            "cron": schedule.cron_schedule,
            "timezone": schedule.execution_timezone,
            "job": schedule.job_name,
            "default status": schedule.default_status.name,
        }
        for schedule in repository.schedule_defs
    }


def sensors(definitions: dg.Definitions) -> dict[str, Any]:
    repository = definitions.get_repository_def()
    return {
        sensor.name: {
            "description": sensor.description,
            "type": sensor.sensor_type.name,
            "interval": sensor.minimum_interval_seconds,
            "targets": sorted(target.job_name for target in sensor.targets),
            "default status": sensor.default_status.name,
        }
        for sensor in repository.sensor_defs
    }


@pytest.mark.parametrize("serialize", [assets, checks, jobs, schedules, sensors])
def test_definitions_are_as_reviewed(
    serialize: Callable[[dg.Definitions], dict[str, Any]], settings: Settings, snapshot: SnapshotAssertion
) -> None:
    """After a change that is meant: `pytest tests/orchestration/test_definitions.py --snapshot-update`."""
    assert serialize(defs()) == snapshot


def test_all_definitions_load(settings: Settings) -> None:
    dg.Definitions.validate_loadable(defs())


def test_every_kind_of_job_has_a_dagster_job_with_its_partitions(settings: Settings) -> None:
    configure_mappers()  # what `model_construct` needs
    requested: list[Job] = [AnalyticsJob.model_construct(device_id="D1", analysis_type=kind) for kind in ANALYSES]
    requested += [table.model_construct(device_id="D1") for table in JOB_TABLES if table is not AnalyticsJob]
    repository = defs().get_repository_def()
    for job in requested:
        definition = repository.get_job(dagster_job_of(job))
        assert (definition.partitions_def is None) == (partition_of(job) is None), definition.name


def test_the_analyses_are_those_that_a_job_can_have() -> None:
    assert set(ANALYSES) == set(get_args(AnalysisType))


@pytest.mark.parametrize("file", ["dagster.yaml", "deploy/dagster.celery.yaml"])
def test_the_limited_tags_are_those_of_runs(file: str) -> None:
    configuration = yaml.safe_load((CHECKOUT / file).read_text())
    limits = configuration["concurrency"]["runs"]["tag_concurrency_limits"]
    assert {limit["key"] for limit in limits} == {JOB_TAG, TENANT_TAG, LONG_TAG, NIGHT_TAG}


@pytest.mark.slow
def test_a_range_of_days_from_dagsters_command_line(stores: Stores, tmp_path: Path) -> None:
    store(stores, reading(0), reading(2 * DAY_MINUTES))
    made = subprocess.run(
        [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "orchestration.definitions",
         "--select", "telemetry_dataset", "--partition-range", "2026-02-12...2026-02-14"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    days = catalogue.datasets_of(stores.session, "D1")
    assert [d.start_date.day for d in days] == [12, 14]


def test_what_a_data_team_sees_is_described(settings: Settings) -> None:
    definitions = defs()
    for spec in definitions.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.group_name != "default", spec.key
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
    for thing in (*(definitions.sensors or ()), *(definitions.schedules or ())):
        assert thing.description, thing.name
    for job in definitions.resolve_all_job_defs():
        if job.name != "__ASSET_JOB":
            assert job.description, job.name
            assert job.tags["energy/purpose"] in ("export", "analytics", "report", "maintenance"), job.name


def test_dagsters_own_check_finds_no_fault(settings: Settings, tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "orchestration.definitions"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
