"""A whole intake for each profile, under a load whose every reading has a number."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest
from sqlmodel import Session, col, func, select

from storage.alerts import Alert
from storage.database import open_engine
from storage.devices import Device
from storage.rules import Rule
from storage.stores import open_telemetry_store
from storage.times import SECOND
from tests.support.publisher import Fleet, Publisher, device_id
from tests.support.servers import wait_until
from tests.support.stack import SOURCE, Stack

DEVICES = 10
BACK = 2 * 86_400  # seconds of device time that the tests may use up


class Plant:
    """A stack, its fleet, and what became of every reading. The first device breaches a rule with each of its own."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.fleet = Fleet(DEVICES, int(time.time()) - BACK)
        self.ticks = 0
        self.start = self.fleet.start
        engine = open_engine(stack.settings)
        with Session(engine) as session:
            session.add_all(
                Device(device_id=device_id(i), device_name=device_id(i), device_type="pump") for i in range(DEVICES)
            )
            session.add(Rule(rule_name="Hot", scope="selected_devices", device_ids=[device_id(0)], property="power",
                             condition=">", threshold=480.0, cooldown_minutes=0))  # fmt: skip
            session.commit()
        engine.dispose()

    def publisher(self) -> Publisher:
        broker = self.stack.servers["broker"]
        if self.stack.profile == "production":
            return Publisher(broker.devices_port, SOURCE, window=5_000)
        return Publisher(broker.port, window=5_000)

    def stored(self, since_tick: int) -> list[int]:
        """The numbers of the readings that are there, from a moment on; one that is there twice is named twice."""
        first, end = (self.start + since_tick) * SECOND, (self.start + self.ticks) * SECOND
        numbers: list[int] = []
        with closing(open_telemetry_store(self.stack.settings)) as store:
            for i in range(DEVICES):
                times = store.read(device_id(i), first, end, metrics=["power"])["time"].cast("int64").to_pylist()
                numbers += [(t // SECOND - self.start) * DEVICES + i for t in times]
        return numbers

    def rows(self, since_tick: int) -> int:
        """How many readings the store itself counts."""
        first, end = (self.start + since_tick) * SECOND, (self.start + self.ticks) * SECOND
        with closing(open_telemetry_store(self.stack.settings)) as store:
            return sum(store.statistics(device_id(i), first, end).readings for i in range(DEVICES))

    def alerts(self, since_tick: int) -> list[int]:
        """The moments of the first device's alerts, as ticks."""
        engine = open_engine(self.stack.settings)
        with Session(engine) as session:
            since = func.to_timestamp(self.start + since_tick)
            found = session.exec(select(Alert.reading_time).where(col(Alert.reading_time) >= since)).all()
        engine.dispose()
        return sorted(round(moment.timestamp()) - self.start for moment in found)


class Load(threading.Thread):
    """Publishes some thousand readings a second until it is stopped; connects again when the broker was away."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(daemon=True)
        self._plant = plant
        self._stopping = threading.Event()
        self.first_tick = plant.ticks
        self.acknowledged: set[int] = set()
        self.published: set[int] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(60)

    def run(self) -> None:
        publisher: Publisher | None = None
        while not self._stopping.wait(0.008):
            try:
                publisher = publisher or self._plant.publisher()
                for _ in range(4):
                    numbers, packets = self._plant.fleet.block(self._plant.ticks)
                    self._plant.ticks += 1
                    self.published.update(numbers)
                    publisher.publish(numbers, packets)
            except OSError:
                self._leave(publisher)
                publisher = None
        if publisher:
            publisher.settle()
        self._leave(publisher)

    def _leave(self, publisher: Publisher | None) -> None:
        if publisher:
            publisher.close()
            self.acknowledged |= publisher.acknowledged

    def reaches(self, more: int) -> None:
        """Wait until so many more readings are published."""
        goal = len(self.published) + more
        wait_until(lambda: len(self.published) >= goal, f"{more} more readings are published")

    def assert_all_is_kept(self, *, lost: int = 0) -> None:
        """Every acknowledged reading is stored once, but for those that the broker's own store lost; so are alerts."""
        assert len(self.acknowledged) > 2_000
        found: list[int] = []

        def arrived() -> bool:
            found[:] = self._plant.stored(self.first_tick)
            return len(self.acknowledged.difference(found)) <= lost

        wait_until(arrived, "every acknowledged reading is stored")
        wait_until(lambda: self._plant.stack.counts()["in_flight"] == 0, "nothing is in flight")
        found = self._plant.stored(self.first_tick)
        assert self._plant.rows(self.first_tick) == len(found) == len(set(found)), "stored twice"
        assert set(found) <= self.published
        expected = sorted(number // DEVICES for number in found if number % DEVICES == 0)
        wait_until(lambda: self._plant.alerts(self.first_tick) == expected, "one alert for each breach")
        counts = self._plant.stack.counts()
        assert counts["received"] == counts["stored"] + counts["quarantined"] + counts["in_flight"]
        assert counts["quarantined"] == 0


@pytest.fixture(scope="module", params=["embedded", "production"])
def plant(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Plant]:
    folder = home / f"stack-{request.param}"
    folder.mkdir(mode=0o755)
    with Stack(request.param, folder, linked=True) as stack:
        yield Plant(stack)


@pytest.fixture
def load(plant: Plant) -> Load:
    return Load(plant)
