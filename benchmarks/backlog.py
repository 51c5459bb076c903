"""A queue that grew while the ingester was away: it drains without a new connection, and every reading is stored once.

300,000 readings at Mosquitto with in-flight windows of 1,000, 5,000 and 20,000, and at NATS. `--messages N` for another
number: 3,000,000 are an outage of ten minutes at 5,000 readings a second. `--only embedded` or `production`.
"""

import argparse
import time
from contextlib import closing
from typing import Literal

import psutil

from benchmarks.floors import say
from benchmarks.load import DEVICES, folder, populate
from storage.stores import open_telemetry_store
from storage.times import SECOND
from tests.support.publisher import Fleet, Publisher, device_id
from tests.support.servers import wait_until
from tests.support.stack import SOURCE, Stack

WINDOWS = (1_000, 5_000, 20_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--window", type=int, choices=WINDOWS, help="of Mosquitto's windows, this one only")
    parser.add_argument("--only", choices=["production", "embedded"])
    asked, _ = parser.parse_known_args()
    if asked.only != "production":
        measure("embedded", asked.messages)
    if asked.only != "embedded":
        for window in (asked.window,) if asked.window else WINDOWS:
            measure("production", asked.messages, window)


def measure(profile: Literal["embedded", "production"], messages: int, window: int = 20_000) -> None:
    with folder() as place, Stack(profile, place, window=window) as stack:
        populate(stack.settings)
        stack.kill("ingester", 15)
        ticks = -(-messages // DEVICES)
        fleet = Fleet(DEVICES)
        publish(stack, fleet, ticks)
        count = ticks * DEVICES
        broker = psutil.Process(stack.processes["broker"].pid)
        memory = broker.memory_info().rss / 1e6
        began = time.monotonic()
        stack.start("ingester")
        wait_until(lambda: stack.counts()["stored"] >= count, "the queue is empty", 60 + count / 2_000)
        took = time.monotonic() - began
        counts = stack.counts()
        stored = unique_readings(stack, fleet, ticks)
        name = profile if profile == "embedded" else f"{profile}, window {window:,}"
        print(f"{name}: {count:,} readings waited (broker {memory:,.0f} MB), {count / took:,.0f}/s", end="")
        print(f", {counts['redelivered']:.0f} delivered again", flush=True)
        say("stored, by device and time", f"{stored:,}", f"{count:,}", met=stored == count)
        say("connections given up", f"{counts['probe_reconnects']:.0f}", "none", met=not counts["probe_reconnects"])


def publish(stack: Stack, fleet: Fleet, ticks: int) -> None:
    login = SOURCE if stack.profile == "production" else None
    with closing(Publisher(stack.servers["broker"].port, login)) as publisher:
        for tick in range(ticks):
            publisher.publish(*fleet.block(tick))
        assert publisher.settle(120)


def unique_readings(stack: Stack, fleet: Fleet, ticks: int) -> int:
    """How many pairs of a device and a time the telemetry store has."""
    first, end = fleet.start * SECOND, (fleet.start + ticks) * SECOND
    with closing(open_telemetry_store(stack.settings)) as store:
        return sum(
            len(set(store.read(device_id(i), first, end, metrics=["power"])["time"].to_pylist()))
            for i in range(fleet.devices)
        )


if __name__ == "__main__":
    main()
