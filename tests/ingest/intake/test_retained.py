"""What a broker has retained comes again with every subscription: it is no sign of a device's life, and no news."""

import time
from contextlib import closing

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, func, select

from storage.alerts import Alert
from storage.last_seen import last_seen_times
from storage.quarantine import QuarantinedReading
from storage.rules import Rule
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.times import MINUTE
from tests.support.running import BROKERS, Ingester, device, ingesting
from tests.support.servers import wait_until


def save_last_seen(ingester: Ingester) -> dict[str, int]:
    with Session(ingester.engine) as session:
        ingester.last_seen.save(session)
        return last_seen_times(session)


@pytest.mark.slow
@pytest.mark.parametrize("broker", BROKERS)
def test_what_was_retained_is_taken_once(settings: Settings, engine: Engine, broker: str) -> None:
    with Session(engine) as session:
        session.add(Rule(rule_name="Much", scope="all_devices", property="power", condition=">", threshold=400,
                         cooldown_minutes=0))  # fmt: skip
        session.commit()
    now = int(time.time() * 1000)
    with BROKERS[broker](settings), device(settings) as machine:
        with ingesting(settings) as first:
            wait_until(lambda: first.registry.rules, "the rule is known")
            machine.post("D1", {"timestamp": now, "power": 500.0}, retain=True).wait_for_publish(10)
            machine.post("D2", b"rubbish", retain=True).wait_for_publish(10)
            wait_until(lambda: first.metrics.stored == first.metrics.quarantined == 1, "both are kept")
            seen = save_last_seen(first)
            assert set(seen) == {"D1"}
        for _ in range(2):
            with ingesting(settings) as again:
                wait_until(
                    lambda: again.metrics.retained_copies == again.metrics.quarantined == 1,
                    "both come again",
                )
                assert (again.metrics.stored, again.metrics.in_flight, again.metrics.alerts) == (0, 0, 0)
                assert save_last_seen(again) == seen
    with Session(engine) as session:
        assert session.exec(select(func.count()).select_from(QuarantinedReading)).one() == 1
        assert session.exec(select(func.count()).select_from(Alert)).one() == 1


@pytest.mark.parametrize("broker", BROKERS)
def test_what_was_retained_before_the_first_start_is_stored_and_raises_nothing(
    settings: Settings, engine: Engine, broker: str
) -> None:
    with Session(engine) as session:
        session.add(Rule(rule_name="Much", scope="all_devices", property="power", condition=">", threshold=400))
        session.commit()
    now = int(time.time() * 1000)
    with BROKERS[broker](settings), device(settings) as machine:
        machine.post("D1", {"timestamp": now, "power": 500.0}, retain=True).wait_for_publish(10)
        machine.post("D2", b"rubbish", retain=True).wait_for_publish(10)
        with ingesting(settings) as ingester:
            wait_until(lambda: ingester.metrics.stored == ingester.metrics.quarantined == 1, "both are kept")
            assert save_last_seen(ingester) == {}
            assert ingester.metrics.alerts == 0
            machine.send("D1", {"timestamp": now + 1, "power": 500.0})
            wait_until(lambda: ingester.metrics.alerts == 1, "what is published now is evaluated")
            assert set(save_last_seen(ingester)) == {"D1"}
    with closing(open_telemetry_store(settings)) as store:
        assert store.statistics("D1", now * 1000 - MINUTE, now * 1000 + MINUTE).readings == 2


@pytest.mark.parametrize("broker", BROKERS)
def test_an_empty_message_clears_what_was_retained(settings: Settings, engine: Engine, broker: str) -> None:
    with BROKERS[broker](settings), device(settings) as machine:
        with ingesting(settings) as first:
            machine.post("D1", {"timestamp": int(time.time() * 1000), "power": 1.0}, retain=True).wait_for_publish(10)
            machine.post("D1", b"", retain=True).wait_for_publish(10)
            machine.send("D2", {"timestamp": int(time.time() * 1000), "power": 1.0})
            wait_until(lambda: first.metrics.stored == 2, "what comes after it is kept")
            assert (first.metrics.received, first.metrics.empty_messages, first.metrics.quarantined) == (2, 1, 0)
        with ingesting(settings) as again:
            machine.send("D2", {"timestamp": int(time.time() * 1000) + 1, "power": 1.0})
            wait_until(lambda: again.metrics.stored == 1, "what is published now is kept")
            assert again.metrics.retained_copies == 0
    with Session(engine) as session:
        assert session.exec(select(func.count()).select_from(QuarantinedReading)).one() == 0
