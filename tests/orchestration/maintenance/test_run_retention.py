from datetime import timedelta

import dagster as dg
import pytest
from sqlalchemy import text

from orchestration.datasets.daily import telemetry_dataset
from orchestration.definitions import defs
from orchestration.maintenance import run_retention
from orchestration.resources import Platform
from storage.stores import Stores
from storage.times import utc_now
from tests.support.plant import DAY_MINUTES, reading, store


@pytest.mark.slow
def test_old_runs_go_but_for_each_days_newest(
    stores: Stores, platform: Platform, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stores, reading(0), reading(DAY_MINUTES))
    closed_day = defs().resolve_job_def("closed_day_job")
    for day in ("2026-02-12", "2026-02-12", "2026-02-13"):
        assert closed_day.execute_in_process(partition_key=day, instance=kept_instance).success
    monkeypatch.setattr(run_retention, "RUNS_A_PAGE", 2)
    future = utc_now() + timedelta(days=1)
    checks = text("SELECT count(*) FROM dagster.asset_check_executions")
    before = stores.session.execute(checks).scalar_one()
    assert run_retention.delete_runs(kept_instance, stores.session, utc_now() - timedelta(days=1)) == 0
    assert run_retention.delete_runs(kept_instance, stores.session, future) == 1
    assert run_retention.delete_runs(kept_instance, stores.session, future) == 0
    assert len(kept_instance.get_runs()) == 2
    assert kept_instance.get_materialized_partitions(telemetry_dataset.key) == {"2026-02-12", "2026-02-13"}
    assert stores.session.execute(checks).scalar_one() == before * 2 // 3
