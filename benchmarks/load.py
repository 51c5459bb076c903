"""The load of the intake benchmarks: a fleet that sends one reading a second of device time, as fast as it is taken."""

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import Session

from storage.database import open_engine
from storage.devices import Device
from storage.rules import Rule
from storage.settings import Settings
from tests.publisher import ROUND, Publisher, message

DEVICES = 1_000
LEAD = 50_000  # readings published and not yet stored: what the source waits at
_STAMP = b"2000-01-01T00:00:00Z"


@contextmanager
def folder() -> Iterator[Path]:
    """Temporary, and others can enter it, as PostgreSQL's user must."""
    with tempfile.TemporaryDirectory(prefix="energy-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def device_id(number: int) -> str:
    return f"M-{number:04d}"


def populate(settings: Settings, *, devices: int = DEVICES, rules: int = 100) -> None:
    """Register the fleet, and rules: a fifth watches all devices, the others 50 each; some devices breach some."""
    chosen = random.Random(1)
    names = [device_id(i) for i in range(devices)]
    engine = open_engine(settings)
    with Session(engine) as session:
        session.add_all(
            Device(device_id=name, device_name=name, device_type="pump", location=f"Hall {i % 7}")
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


class Fleet:
    """Packets of every device for one moment, a block; blocks differ in values, moments are put in when they are sent.

    The values of every hundredth device are beyond the thresholds of `populate`.
    """

    def __init__(self, devices: int = DEVICES, start: int | None = None) -> None:
        self.devices = devices
        self.start = int(time.time()) - 10_800 if start is None else start
        chosen = random.Random(2)
        self._blocks = [
            b"".join(self._packet(chosen, block, i) for i in range(devices)) for block in range(self._kinds)
        ]

    @property
    def _kinds(self) -> int:
        """Packet ids follow from a message's number, and are put in here: their round must hold whole blocks."""
        return ROUND // self.devices

    def _packet(self, chosen: random.Random, block: int, device: int) -> bytes:
        hot = device % 100 == 0
        payload = {
            "timestamp": _STAMP.decode(),
            "voltage": round(chosen.uniform(220, 240), 1),
            "current": round(chosen.uniform(0.5, 1.5), 2),
            "power": 490.5 if hot else round(chosen.uniform(100, 400), 1),
            "temperature": round(chosen.uniform(30, 60), 1),
            "schema_version": "v1",
        }
        topic = f"devices/{device_id(device)}/telemetry"
        return message(topic, json.dumps(payload).encode(), block * self.devices + device)

    def block(self, tick: int) -> tuple[range, bytes]:
        """The numbers and the packets of one moment, `tick` seconds after the start."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.start + tick)).encode()
        numbers = range(tick * self.devices, (tick + 1) * self.devices)
        return numbers, self._blocks[tick % self._kinds].replace(_STAMP, stamp)


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
