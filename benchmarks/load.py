"""The load of the intake benchmarks: a fleet that sends one reading a second of device time, as fast as it is taken."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from sqlmodel import Session

from storage.database import open_engine
from storage.devices import Device
from storage.rules import Rule
from storage.settings import Settings
from storage.times import utc_now
from tests.support.publisher import Fleet, Publisher, device_id

DEVICES = 1_000
LEAD = 50_000  # readings published and not yet stored: what the source waits at


@contextmanager
def folder() -> Iterator[Path]:
    """Temporary, and others can enter it, as PostgreSQL's user must."""
    with tempfile.TemporaryDirectory(prefix="energy-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def populate(settings: Settings, *, devices: int = DEVICES, rules: int = 100) -> None:
    """Register the fleet, yesterday, and rules: a fifth watches all devices, the others 50 each; some breach some."""
    chosen = random.Random(1)
    yesterday = utc_now() - timedelta(days=1)
    names = [device_id(i) for i in range(devices)]
    engine = open_engine(settings)
    with Session(engine) as session:
        session.add_all(
            Device(
                device_id=name,
                device_name=name,
                device_type="pump",
                location=f"Hall {i % 7}",
                created_at=yesterday,
                updated_at=yesterday,
            )
            for i, name in enumerate(names)
        )
        for i in range(rules):
            metric, threshold = [("power", 480.0), ("voltage", 245.0), ("temperature", 75.0), ("current", 1.9)][i % 4]
            all_devices = i % 5 == 0
            session.add(
                Rule(
                    rule_name=f"Rule {i}",
                    scope="all_devices" if all_devices else "selected_devices",
                    device_ids=[] if all_devices else chosen.sample(names, min(50, devices)),
                    property=metric,
                    condition=">",
                    threshold=threshold,
                )
            )
        session.commit()
    engine.dispose()


def pour(
    publisher: Publisher, fleet: Fleet, first_tick: int, seconds: float, stored: Callable[[], float]
) -> tuple[int, float, list[float]]:
    """Publish for so long, never more than LEAD ahead of what is stored, then wait until all is.

    Returns:
        Readings published, seconds from the first one's publishing to the last one's storing, and readings a second
        of each fifth second.

    """
    before, start = stored(), time.monotonic()
    published, known, tick = 0, 0.0, first_tick
    looked, rates, mark = start, [], (start, 0.0)
    while (now := time.monotonic()) - start < seconds:
        if now - looked > 0.2:
            known, looked = stored() - before, now
            if now - mark[0] >= 5:
                rates.append((known - mark[1]) / (now - mark[0]))
                mark = (now, known)
        if published - known > LEAD:
            time.sleep(0.01)
            continue
        publisher.publish(*fleet.block(tick))
        published, tick = published + fleet.devices, tick + 1
    deadline = time.monotonic() + 120
    while stored() - before < published:
        if time.monotonic() > deadline:
            raise AssertionError(f"{published - stored() + before:.0f} of {published} readings are not stored")
        time.sleep(0.02)
    return published, time.monotonic() - start, rates
