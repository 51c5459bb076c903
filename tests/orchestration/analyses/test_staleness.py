"""A result is stale once the history of its device has changed, and fresh again once it is made anew."""

from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from assets.datasets.export import export_day
from orchestration.datasets.observations import observing
from orchestration.definitions import defs
from storage.devices import Device
from storage.stores import Stores
from tests.support.plant import DAY, DAY_MINUTES, reading, store

ANOMALY = dg.AssetKey("anomaly_result")


def closed_days(stores: Stores, instance: dg.DagsterInstance, *days: int) -> None:
    with observing(instance, stores.session) as observed:
        for number in days:
            file = export_day(stores, "D1", DAY + timedelta(days=number))
            assert file
            observed.add(DAY + timedelta(days=number), [file])


@pytest.mark.usefixtures("platform")
def test_results_go_stale_with_their_device_history(stores: Stores, kept_instance: dg.DagsterInstance) -> None:
    def status() -> StaleStatus:
        graph, context = defs().resolve_asset_graph(), LoadingContextForTest(kept_instance)
        return CachingStaleStatusResolver(kept_instance, graph, context).get_status(ANOMALY, "D1")

    def analyse() -> None:
        job = defs().resolve_job_def("anomaly_job")
        assert job.execute_in_process(partition_key="D1", instance=kept_instance).success

    kept_instance.add_dynamic_partitions("devices", ["D1", "D2"])
    stores.session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
    store(stores, *(reading(m, power=100 + m % DAY_MINUTES) for m in range(0, 2 * DAY_MINUTES, 10)))
    closed_days(stores, kept_instance, 0, 1)
    analyse()
    assert status() == StaleStatus.FRESH
    closed_days(stores, kept_instance, 0)  # nothing has changed
    assert status() == StaleStatus.FRESH
    store(stores, reading(5))
    closed_days(stores, kept_instance, 0)
    assert status() == StaleStatus.STALE
    analyse()
    assert status() == StaleStatus.FRESH
