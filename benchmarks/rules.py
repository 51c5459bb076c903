"""What rules cost intake: their evaluation's share of `Intake.commit` on PostgreSQL, 1,000 devices.

10,000 rules of selected devices (10 each), then 100 of all devices besides. For comparison: no rules. Batches of one
reading of each device, and of 5,000, the most that intake takes at once. `--batches N` of each (20).
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from contextlib import closing
from statistics import median
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from benchmarks.datasets import database
from benchmarks.floors import say, spread
from benchmarks.load import DEVICES, populate
from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake.intake import MAX_BATCH_MESSAGES, Intake
from ingest.metrics import IngestMetrics
from ingest.mqtt.subscription import Message
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser, Outcome
from ingest.rules.evaluate import Evaluated
from storage.database import open_engine
from storage.rules import Rule
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.telemetry import Reading
from tests.support.publisher import device_id

LIMITS = [("power", ">", 480.0), ("voltage", ">", 245.0), ("temperature", ">=", 75.0), ("current", "<", 0.1),
          ("power", "<=", 1.0)]  # fmt: skip


class Watched(AlertRaiser):
    """Notes how long each part takes."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.evaluating = 0.0
        self.raising = 0.0

    def evaluate(self, readings: Sequence[Reading]) -> Evaluated:
        began = time.perf_counter()
        found = super().evaluate(readings)
        self.evaluating = time.perf_counter() - began
        return found

    def raise_for_batch(self, session: Session, evaluated: Evaluated) -> Outcome:
        began = time.perf_counter()
        found = super().raise_for_batch(session, evaluated)
        self.raising = time.perf_counter() - began
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=20)
    asked, _ = parser.parse_known_args()
    with database():
        settings = Settings.load()
        engine = open_engine(settings)
        populate(settings, rules=0)
        second = int(time.time()) - 80_000  # each batch has moments of its own
        for name, rules in (
            ("no rules", []),
            ("10,000 rules, 10 of each device", [_selected(i) for i in range(10 * DEVICES)]),
            ("and 100 of all devices", [_of_all(i) for i in range(100)]),
        ):
            with Session(engine) as session:
                session.add_all(rules)
                session.commit()
            for size in (DEVICES, MAX_BATCH_MESSAGES):
                second = measure(settings, engine, f"{name}, batches of {size:,}", second, size, asked.batches)
        engine.dispose()


def measure(settings: Settings, engine: Engine, name: str, second: int, size: int, batches: int) -> int:  # noqa: PLR0917 - the facts of one run
    """The next batch's second is the answer."""
    registry = Registry(settings, engine)
    registry.load()
    raiser = Watched(registry, LastSeen(), Outbox(NotifySettings.load()))
    whole, evaluating, shares, all_shares = [], [], [], []
    with closing(open_telemetry_store(settings)) as store:
        intake = Intake(settings.mqtt_topic, store, engine, registry, IngestMetrics(), raiser=raiser)
        for i in range(batches + 2):
            batch = [intake.decode(one) for one in messages(second, size)]
            second += size // DEVICES
            raiser.raising = 0.0
            began = time.perf_counter()
            intake.commit(batch)
            took = time.perf_counter() - began
            if i >= 2:  # what is done once is done, and the first alerts are raised
                whole.append(took * 1000)
                evaluating.append(raiser.evaluating * 1000)
                shares.append(raiser.evaluating / took * 100)
                all_shares.append((raiser.evaluating + raiser.raising) / took * 100)
    print(f"{name}: commit {spread(whole, 'ms')}, evaluation {spread(evaluating, 'ms')}", end="")
    print(f", with alerts {median(all_shares):.1f} %")
    if raiser.rules.rules:
        share = median(shares)
        say("share of evaluation", f"{spread(shares, '%')}", "below 30 %", met=share < 30)
    return second


def messages(second: int, size: int) -> list[Message]:
    """Readings of every device in turn; every hundredth one breaches."""
    chosen = random.Random(second)
    made = []
    for i in range(size):
        device = i % DEVICES
        payload = {
            "timestamp": (second + i // DEVICES) * 1000,
            "voltage": round(chosen.uniform(220, 240), 1),
            "current": round(chosen.uniform(0.5, 1.5), 2),
            "power": 490.5 if device % 100 == 0 else round(chosen.uniform(100, 400), 1),
            "temperature": round(chosen.uniform(30, 60), 1),
        }
        topic = f"devices/{device_id(device)}/telemetry"
        now = time.time_ns() // 1000
        made.append(Message(topic, json.dumps(payload).encode(), now, redelivered=False, packet_id=1, connection=0))
    return made


def _selected(i: int) -> Rule:
    metric, condition, threshold = LIMITS[i % len(LIMITS)]
    return Rule(
        rule_name=f"Selected {i}",
        scope="selected_devices",
        device_ids=[device_id(i // 10)],
        property=metric,
        condition=condition,
        threshold=threshold,
    )


def _of_all(i: int) -> Rule:
    metric, condition, threshold = LIMITS[i % len(LIMITS)]
    return Rule(rule_name=f"All {i}", scope="all_devices", property=metric, condition=condition, threshold=threshold)


if __name__ == "__main__":
    main()
