from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import text
from sqlmodel import select

from assets.datasets.export import export_day
from orchestration.datasets import cadence, daily
from orchestration.definitions import defs
from orchestration.resources import Platform
from storage import catalogue
from storage.catalogue import Dataset
from storage.dataset_start import dataset_start
from storage.devices import Device
from storage.settings import Settings
from storage.stores import Stores
from storage.times import utc_now
from tests.support.plant import DAY, DAY_MINUTES, reading, store


def tick(instance: dg.DagsterInstance, platform: Platform, cursor: str | None = "begun") -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"platform": platform}) as context:
        answer = cadence.export_touched_days(context)
    assert isinstance(answer, dg.SensorResult)
    return answer


def run(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """What the daemon does with a request."""
    assert request.job_name
    return defs().resolve_job_def(request.job_name).execute_in_process(
        partition_key=request.partition_key, run_config=request.run_config, tags=request.tags, instance=instance
    )  # fmt: skip


def long_ago(stores: Stores) -> None:
    """The telemetry that is marked came some time ago."""
    stores.session.execute(text("UPDATE touched_days SET touched_at = touched_at - interval '6 minutes'"))
    stores.session.commit()


def test_the_open_day_is_made_at_once_and_a_late_one_when_it_is_quiet(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, open_day: date
) -> None:
    assert not tick(instance, platform).run_requests
    store(stores, reading((open_day - DAY).days * DAY_MINUTES), reading(0, "D2"))
    (request,) = tick(instance, platform).run_requests or []
    assert (request.job_name, request.partition_key) == ("dataset_job", open_day.isoformat())
    assert run(instance, request).success
    assert not tick(instance, platform).run_requests
    long_ago(stores)
    (request,) = tick(instance, platform).run_requests or []
    assert (request.job_name, request.partition_key) == ("closed_day_job", "2026-02-12")
    assert run(instance, request).success
    assert not tick(instance, platform).run_requests
    assert {d.start_date for d in stores.session.exec(select(Dataset))} == {DAY, open_day}


def test_readings_older_than_the_partitions_let_the_definitions_be_loaded_again(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then their day is not requested, since the code server would refuse it."""
    reloads: list[float] = []
    monkeypatch.setattr(cadence, "first_day", date(2026, 3, 1))
    monkeypatch.setattr(cadence, "reload_definitions", lambda _, timeout_seconds: reloads.append(timeout_seconds))
    store(stores, reading(0))
    long_ago(stores)
    assert not tick(instance, platform).run_requests
    assert len(reloads) == 1
    monkeypatch.setattr(cadence, "first_day", dataset_start(stores.session, Settings.load()))
    assert [request.partition_key for request in tick(instance, platform).run_requests or []] == ["2026-02-12"]
    assert len(reloads) == 1


def test_a_late_day_that_never_gets_quiet_waits_no_longer_than_a_quarter_of_an_hour(stores: Stores) -> None:
    store(stores, reading(0))
    now = utc_now()
    assert not cadence.due_days(stores.session, now)
    stores.session.execute(text("UPDATE touched_days SET first_touched_at = now() - interval '16 minutes'"))
    assert [w.day for w in cadence.due_days(stores.session, now)] == [DAY]


def test_a_day_is_made_once_more_when_it_closes(stores: Stores, open_day: date) -> None:
    store(stores, reading((open_day - DAY).days * DAY_MINUTES))
    exported = export_day(stores, "D1", open_day)
    assert exported is not None
    assert exported.dataset.checks is None
    midnight = datetime.combine(open_day + timedelta(days=1), datetime.min.time(), UTC)
    assert not cadence.due_days(stores.session, midnight + timedelta(minutes=4))
    assert cadence.due_days(stores.session, midnight + timedelta(minutes=6)) == [cadence.DueDay(open_day, 1)]


def test_a_day_with_a_run_or_one_that_just_failed_is_left_alone(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    store(stores, reading(0))
    long_ago(stores)
    (request,) = tick(instance, platform).run_requests or []
    tags = {**request.tags, "dagster/partition": "2026-02-12"}
    for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE):
        run = instance.add_run(dg.DagsterRun(job_name="closed_day_job", status=status, tags=tags))
        assert not tick(instance, platform).run_requests
        instance.delete_run(run.run_id)
    assert tick(instance, platform).run_requests


def test_the_checks_of_a_closed_day_name_the_worst_devices(
    stores: Stores, platform: Platform, kept_instance: dg.DagsterInstance
) -> None:
    good = [reading(m, "good", power=100.0 + m % 7) for m in range(DAY_MINUTES)]
    gap = [reading(m, "gap", power=100.0 + m % 7) for m in range(DAY_MINUTES) if not 300 < m < 700]
    stopped = [reading(m, "stopped", power=100.0 + m % 7) for m in range(-1, 90)]
    store(stores, *good, *gap, *stopped)
    long_ago(stores)
    requests = tick(kept_instance, platform).run_requests or []
    (request,) = [r for r in requests if r.partition_key == "2026-02-12"]
    result = run(kept_instance, request)
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert {name for name, e in found.items() if not e.passed} == {"completeness", "gaps"}
    completeness = found["completeness"]
    assert (completeness.severity, completeness.partition) == (dg.AssetCheckSeverity.ERROR, "2026-02-12")
    assert completeness.description == (
        "2 of 3 device-days failed. stopped: 6.2% of the day at one reading each 60 s"
    )  # fmt: skip
    assert found["gaps"].severity == dg.AssetCheckSeverity.WARN
    assert (completeness.metadata["errors"].value, completeness.metadata["warnings"].value) == (1, 1)
    stores.session.expire_all()
    (stored,) = catalogue.datasets_of(stores.session, "stopped", start=DAY, end=DAY)
    assert stored.checks is not None
    assert stored.checks["completeness"]["status"] == "error"


def test_a_large_fleet_is_split_over_several_runs(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLIT_RUNS_ABOVE_DEVICES", "4")
    fleet = {f"D{i}" for i in range(10)}
    store(stores, *(reading(0, device_id) for device_id in fleet))
    long_ago(stores)
    requests = tick(instance, platform).run_requests or []
    assert [r.tags["energy/shard"] for r in requests] == ["1 of 3", "2 of 3", "3 of 3"]
    made = [
        set(daily.devices_to_export(stores.session, DAY, daily.ExportConfig(only_touched=True, shard=i, shards=3)))
        for i in range(3)
    ]
    assert set.union(*made) == fleet
    assert sum(map(len, made)) == len(fleet)
    for request in requests:
        assert run(instance, request).success
    assert {d.device_id for d in stores.session.exec(select(Dataset))} == fleet
    assert not tick(instance, platform).run_requests


def test_the_first_tick_marks_recent_telemetry_that_was_not_marked(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, open_day: date
) -> None:
    recent, old = reading((open_day - DAY).days * DAY_MINUTES), reading(0, "D2")
    recent.received_at = int(utc_now().timestamp() * 1e6)
    stores.telemetry.write([recent, old])
    assert not tick(instance, platform).run_requests
    answer = tick(instance, platform, cursor=None)
    assert [r.partition_key for r in answer.run_requests or ()] == [open_day.isoformat()]
    assert (answer.cursor or "").startswith("looked back at ")


def test_telemetry_before_the_first_partition_is_not_asked_for(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    store(stores, reading(-(DAY - DAY.replace(year=2019)).days * DAY_MINUTES))
    long_ago(stores)
    assert not tick(instance, platform).run_requests


def test_the_registry_is_followed(stores: Stores, platform: Platform, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("devices", ["gone", "D1", "unregistered"])
    store(stores, reading(0, "unregistered"))
    stores.session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
    stores.session.add(Device(device_id="D2", device_name="Pump", device_type="pump"))
    stores.session.commit()
    with dg.build_sensor_context(instance=instance, resources={"platform": platform}) as context:
        answer = cadence.follow_registry(context)
    assert isinstance(answer, dg.SensorResult)
    requests = [(type(r).__name__, list(r.partition_keys)) for r in answer.dynamic_partitions_requests or ()]
    assert requests == [("DeleteDynamicPartitionsRequest", ["gone"])]
    assert set(instance.get_dynamic_partitions("devices")) == {"D1", "D2", "gone", "unregistered"}
