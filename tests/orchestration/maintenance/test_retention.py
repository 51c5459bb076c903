import dagster as dg
import pytest

from assets.datasets import export_day
from orchestration.definitions import defs
from orchestration.resources import Platform
from storage.stores import Stores
from tests.support.plant import DAY, reading, store, telemetry_partitions


def test_the_nightly_job_does_what_the_variables_say(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stores, reading(0))
    export_day(stores, "D1", DAY)
    job = defs().resolve_job_def("retention_job")
    assert job.execute_in_process(instance=instance).success
    assert list(stores.objects.list("datasets"))
    monkeypatch.setenv("DATASET_RETENTION_DAYS", "30")
    monkeypatch.setenv("TELEMETRY_RETENTION_DAYS", "30")
    assert job.execute_in_process(instance=instance).success
    assert not list(stores.objects.list("datasets"))
    assert telemetry_partitions(stores) == []
