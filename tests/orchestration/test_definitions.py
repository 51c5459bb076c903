import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
from sqlalchemy.orm import configure_mappers

from assets.analyses import ANALYSES
from orchestration.definitions import defs
from storage import catalogue
from storage.jobs import AnalyticsJob, ExportJob, Job, ReportJob, dagster_job
from storage.settings import Settings
from storage.stores import Stores
from tests.support.plant import DAY_MINUTES, reading, store


def test_everything_loads(settings: Settings) -> None:
    definitions = defs()
    dg.Definitions.validate_loadable(definitions)
    configure_mappers()  # what `model_construct` needs
    jobs = {job.name for job in definitions.resolve_all_job_defs()}
    asked: list[Job] = [AnalyticsJob.model_construct(analysis_type=kind) for kind in ANALYSES]
    asked += [ExportJob.model_construct(), ReportJob.model_construct()]
    assert {dagster_job(job) for job in asked} <= jobs


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
