"""What dies, and what is there afterwards: every reading that the broker acknowledged, once, with its alert."""

import pytest

from tests.faults.conftest import Load, Plant
from tests.support.servers import wait_until

pytestmark = pytest.mark.slow


def test_ingester_killed_under_load(plant: Plant, load: Load) -> None:
    with load:
        load.reaches(2_000)
        plant.stack.restart("ingester")
        load.reaches(1_000)
    load.assert_all_is_kept()


@pytest.mark.parametrize("store", ["postgres", "influxdb"])
def test_store_killed_under_load(plant: Plant, load: Load, store: str) -> None:
    if store not in plant.stack.servers:
        pytest.skip("the embedded profile has no InfluxDB")
    with load:
        load.reaches(2_000)
        plant.stack.restart(store)
        load.reaches(2_000)
    load.assert_all_is_kept()


def test_telemetry_store_away_for_a_while(plant: Plant, load: Load) -> None:
    """Intake waits and the broker keeps what comes; readiness says so."""
    store = "postgres" if plant.stack.profile == "embedded" else "influxdb"
    with load:
        load.reaches(1_000)
        plant.stack.kill(store)
        wait_until(lambda: plant.stack.counts()["store_failures"] > 0, "intake finds the store away")
        assert not plant.stack.is_ready("ingester")
        load.reaches(10_000)
        waiting = plant.stack.counts()
        assert waiting["in_flight"] <= 5_000
        plant.stack.start(store)
    load.assert_all_is_kept()
    assert plant.stack.is_ready("ingester")


def test_network_cut_between_ingester_and_broker(plant: Plant, load: Load) -> None:
    link = plant.stack.link
    assert link
    with load:
        for _ in range(2):
            load.reaches(2_000)
            link.cut()
            load.reaches(1_000)
            link.mend()
            wait_until(lambda: plant.stack.is_ready("ingester"), "the ingester is connected again")
    load.assert_all_is_kept()


def test_broker_killed_under_load(plant: Plant, load: Load) -> None:
    """NATS loses nothing; Mosquitto what came since it last wrote its store. The platform adds nothing to that."""
    with load:
        load.reaches(4_000)
        plant.stack.restart("broker")
        wait_until(lambda: plant.stack.is_ready("ingester"), "the ingester is connected again")
        load.reaches(4_000)
    if plant.stack.profile == "embedded":
        load.assert_all_is_kept()
        return
    wait_until(lambda: plant.stack.counts()["in_flight"] == 0, "nothing is in flight")
    missing = load.acknowledged.difference(plant.stored(load.first_tick))
    print(f"Mosquitto, killed, lost {len(missing)} of {len(load.acknowledged)} acknowledged readings")
    load.assert_all_is_kept(lost=len(missing))


def test_one_of_two_ingesters_killed_under_load(plant: Plant, load: Load) -> None:
    """Side by side on a shared subscription: what the dead one held comes when it is back, the other takes the rest."""
    if plant.stack.profile == "embedded":
        pytest.skip("NATS has no shared subscriptions")
    names = ["ingester", "second"]
    plant.stack.kill("ingester")
    for i, name in enumerate(names):
        plant.stack.add_ingester(name, MQTT_SHARED_GROUP="plant", MQTT_CLIENT_ID=f"side-{i}")
    with load:
        load.reaches(3_000)
        assert all(plant.stack.counts(name)["stored"] > 0 for name in names)
        plant.stack.restart("second")
        load.reaches(3_000)
    load.assert_all_is_kept()
    plant.stack.kill("second")
