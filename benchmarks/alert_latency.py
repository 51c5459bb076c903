"""From publishing a reading to seeing its alert's row, while 1,000 devices send 5,000 and 12,000 readings a second.

There are 100 rules. A probe breaches a rule without a cooldown several times a second, with a value of its own each
time; another connection asks PostgreSQL every few milliseconds until it sees that value. First with nothing else going
on, for comparison. Embedded profile (NATS, PostgreSQL), then production (Mosquitto, InfluxDB). `--seconds N` of each
load (30); `--only embedded` or `production`.
"""

import argparse
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Literal
from uuid import UUID

import numpy as np
import psycopg
from sqlmodel import Session

from benchmarks.floors import say
from benchmarks.load import DEVICES, folder, populate
from storage.database import open_engine
from storage.devices import Device
from storage.rules import Rule
from storage.settings import Settings
from tests.support.publisher import Fleet, Publisher, message
from tests.support.servers import wait_until
from tests.support.stack import SOURCE, Stack

LIMITS_MS = {5_000: 50, 12_000: 200}  # the 99th percentile that is allowed at so many readings a second
AT_ONCE = 50
LOOK = 0.003  # seconds between two looks
PROBE = "probe"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only", choices=["production", "embedded"])
    asked, _ = parser.parse_known_args()
    profiles: tuple[Literal["embedded", "production"], ...] = ("embedded", "production")
    for profile in profiles:
        if asked.only in (None, profile):
            measure(profile, asked.seconds)


def measure(profile: Literal["embedded", "production"], seconds: float) -> None:
    with folder() as place, Stack(profile, place) as stack:
        rule = add_probe(stack.settings)
        populate(stack.settings)
        login = SOURCE if profile == "production" else None
        port = stack.servers["broker"].port
        with (
            closing(Publisher(port, login)) as source,
            closing(Publisher(port, login)) as probe,
            psycopg.connect(stack.settings.database_url, autocommit=True) as connection,
        ):
            probing = Probing(probe, connection, rule)
            wait_until(lambda: probing.once() < 1, "the ingester knows the probe's rule")
            tell(f"{profile}, at rest", probing.run(5))
            tick = 0
            for rate, limit in LIMITS_MS.items():
                tick = measure_at(stack, probing, source, rate, limit, seconds, tick)


def measure_at(  # noqa: PLR0917 - the facts of one run
    stack: Stack, probing: "Probing", source: Publisher, rate: int, limit: int, seconds: float, first_tick: int
) -> int:
    """Probe under a load of `rate` readings a second; the answer is the first tick that was not sent."""
    fleet = Fleet(DEVICES)
    with pouring(source, fleet, rate, first_tick) as sent:
        probing.run(2)  # the first alerts of the load's own rules, and what warms up
        before, count, began = stack.counts(), sent[0], time.monotonic()
        found = probing.run(seconds)
        reached = (sent[0] - count) / (time.monotonic() - began)
        after = stack.counts()
    batches = after["batch_readings_count"] - before["batch_readings_count"]
    batch = (after["batch_readings_sum"] - before["batch_readings_sum"]) / batches
    tell(f"{stack.profile}, {reached:,.0f} readings/s, {batch:.0f} a batch", found)
    p99 = np.percentile(found, 99) * 1000
    say(f"p99 at {rate:,}/s", f"{p99:.0f} ms", f"at most {limit} ms", met=bool(p99 <= limit))
    say("load", f"{reached:,.0f}/s", f"{rate:,}/s", met=reached > 0.97 * rate)
    return first_tick + sent[0] // fleet.devices + 1


def add_probe(settings: Settings) -> UUID:
    """Register the device and its rule; the answer is the rule's id."""
    rule = Rule(
        rule_name="Probe",
        scope="selected_devices",
        device_ids=[PROBE],
        property="pressure",
        condition=">",
        threshold=0.0,
        cooldown_minutes=0,
    )
    engine = open_engine(settings)
    with Session(engine, expire_on_commit=False) as session:
        session.add_all([Device(device_id=PROBE, device_name="Probe", device_type="pump"), rule])
        session.commit()
    engine.dispose()
    return rule.rule_id


class Probing:
    """One breach at a time: published, then waited for."""

    def __init__(self, publisher: Publisher, connection: psycopg.Connection, rule: UUID) -> None:
        self._publisher = publisher
        self._connection = connection
        self._rule = rule
        self._number = 0
        self._pauses = random.Random(3)

    def run(self, seconds: float) -> list[float]:
        """Probe for so long; seconds that each alert took."""
        found, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            found.append(self.once())
            time.sleep(self._pauses.uniform(0.05, 0.35))  # in step with nothing
        return found

    def once(self) -> float:
        """Seconds from publishing to the row.

        Raises:
            TimeoutError: none within ten seconds.

        """
        self._number += 1
        payload = {"timestamp": time.time_ns() // 1_000_000, "pressure": self._number}
        packet = message(f"devices/{PROBE}/telemetry", json.dumps(payload).encode(), self._number)
        began = time.perf_counter()
        self._publisher.publish([self._number], packet)
        seen = "SELECT 1 FROM alerts WHERE rule_id = %s AND actual_value = %s"
        while not self._connection.execute(seen, (self._rule, self._number)).fetchone():
            if time.perf_counter() - began > 10:
                raise TimeoutError(f"no alert for probe {self._number}")
            time.sleep(LOOK)
        return time.perf_counter() - began


@contextmanager
def pouring(publisher: Publisher, fleet: Fleet, rate: int, first_tick: int) -> Iterator[list[int]]:
    """Load at an even rate as long as the block lasts; how many readings were sent so far."""
    sent, stopping = [0], threading.Event()

    def pour() -> None:
        began = time.monotonic()
        while not stopping.is_set():
            tick, first = divmod(sent[0], fleet.devices)
            publisher.publish(*fleet.block(first_tick + tick, slice(first, first + AT_ONCE)))
            sent[0] += AT_ONCE
            stopping.wait(max(0.0, began + sent[0] / rate - time.monotonic()))

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    try:
        yield sent
    finally:
        stopping.set()
        thread.join()


def tell(what: str, found: list[float]) -> None:
    p50, p90, p99, most = np.percentile(found, [50, 90, 99, 100]) * 1000
    print(f"{what}: {len(found)} alerts, p50 {p50:.0f} ms, p90 {p90:.0f}, p99 {p99:.0f}, max {most:.0f}", flush=True)


if __name__ == "__main__":
    main()
