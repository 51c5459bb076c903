from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import assume, example, given, strategies as st
from sqlalchemy import Engine
from sqlalchemy.exc import ResourceClosedError
from sqlmodel import Session, col, select

from ingest.devices.last_seen import LastSeen
from ingest.devices.profile import DeviceProfile
from ingest.devices.registry import Registry
from ingest.metrics import IngestMetrics
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.active_rule import ActiveRule
from ingest.rules.no_data import GRACE, NoDataMonitor, find_breaches
from storage.alerts import Alert
from storage.devices import Device
from storage.last_seen import DeviceLastSeen, Listening
from storage.maintenance import SuppressedAlerts
from storage.rules import Rule
from storage.settings import Settings
from storage.telemetry import Reading
from storage.times import HOUR, MINUTE, SECOND, microseconds, utc_now

NOW = 1_770_000_000_000_000
ACTIVE = DeviceProfile(status="active", enrichment_status="success")


def quiet_rule(**more: Any) -> Rule:
    values: dict[str, Any] = {"rule_name": "Quiet", "scope": "all_devices", "property": "telemetry",
                              "condition": "no_data", "threshold": 10.0, "cooldown_minutes": 0}  # fmt: skip
    return Rule(**values | more)


def without_data(
    devices: dict[str, DeviceProfile], last_seen: dict[str, int], *, listening_since: int = 0, **rule: Any
) -> dict[str, float]:
    found = find_breaches([ActiveRule.of(quiet_rule(**rule))], devices, last_seen, listening_since, NOW)
    return {breach.device_id: round(breach.value, 1) for breach in found}


def test_time_counts_from_the_last_reading_and_only_while_somebody_listens() -> None:
    long_ago = NOW - 30 * MINUTE
    devices = {"D1": ACTIVE, "D2": ACTIVE, "never": replace(ACTIVE, edited_at=NOW - 20 * MINUTE)}
    last_seen = {"D1": long_ago, "D2": NOW - 10 * MINUTE - GRACE + 1}
    assert without_data(devices, last_seen) == {"D1": 30.0, "never": 20.0}
    assert without_data(devices, last_seen, listening_since=NOW - 9 * MINUTE) == {}
    assert without_data(devices, last_seen, scope="selected_devices", device_ids=["D1", "D2"]) == {"D1": 30.0}
    assert without_data(devices, last_seen, tenant_id="a") == {}


def test_only_devices_that_are_expected_to_send_are_missed() -> None:
    away = {name: replace(ACTIVE, status=name) for name in ("inactive", "error", "maintenance")}
    gone = {"deleted": replace(ACTIVE, status=None)}
    assert set(without_data(away | gone, {})) == {"error", "maintenance"}
    worked_on = replace(ACTIVE, windows=[(NOW - 60 * MINUTE, NOW - 5 * MINUTE)])
    assert without_data({"D1": worked_on}, {"D1": NOW - 60 * MINUTE}) == {}


def test_outside_active_hours_no_device_is_missed() -> None:
    hours = {"days": list(range(7)), "from": "00:00", "to": "00:01"}
    assert without_data({"D1": ACTIVE}, {}, active_hours=hours) == {}


@given(
    since=st.integers(0, 47), length=st.integers(1, 48), days=st.sets(st.integers(0, 6), min_size=1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]),
    threshold=st.integers(1, 1000), silent=st.integers(0, 3000), listening=st.integers(0, 3000),
    now=st.integers(0, 40 * 24 * 60), seconds=st.integers(0, 59),
)  # fmt: skip
@hypothesis.settings(max_examples=60)
@example(since=12, length=1, days={0, 1, 2, 3, 4, 5, 6}, zone="Europe/Berlin", threshold=5, silent=90, listening=3000,
         now=24 * 24 * 60 + 4 * 60 + 35, seconds=0)  # fmt: skip
def test_only_minutes_within_the_active_hours_count(
    *, since: int, length: int, days: set[int], zone: str, threshold: int, silent: int, listening: int, now: int,
    seconds: int,
) -> None:  # fmt: skip
    """A clock that ticks minute by minute counts the same, also over a change of the clocks."""
    until = since + length
    hours = {"days": sorted(days), "from": half_hours(since), "to": half_hours(until % 48 if until > 48 else until)}
    assume(hours["from"] != hours["to"])
    moment_now = microseconds(datetime(2026, 10, 1, tzinfo=UTC)) + now * MINUTE + seconds * SECOND
    rule = ActiveRule.of(quiet_rule(threshold=float(threshold), active_hours=hours))
    profile = replace(ACTIVE, zone=ZoneInfo(zone))
    begun = moment_now - min(silent, listening) * MINUTE
    counted, at = 0, begun
    while at < moment_now:
        ends = min((at // MINUTE + 1) * MINUTE, moment_now)
        counted += (ends - at) * rule.is_active(at, profile.zone)
        at = ends
    expected = counted >= threshold * MINUTE + GRACE and rule.is_active(moment_now, profile.zone)
    found = find_breaches(
        [rule], {"D1": profile}, {"D1": moment_now - silent * MINUTE}, moment_now - listening * MINUTE, moment_now
    )
    assert bool(list(found)) == expected


def half_hours(count: int) -> str:
    return f"{count // 2:02d}:{count % 2 * 30:02d}"


def test_a_night_without_data_is_not_counted_when_the_hours_open() -> None:
    """From 22 at night nothing comes; the hours begin at 6."""
    rule = ActiveRule.of(quiet_rule(active_hours={"days": list(range(7)), "from": "06:00", "to": "18:00"}))
    opening = microseconds(datetime(2026, 2, 12, 6, tzinfo=UTC))
    fired = [
        minute
        for minute in range(-30, 30)
        if list(find_breaches([rule], {"D1": ACTIVE}, {"D1": opening - 8 * HOUR}, 0, opening + minute * MINUTE + GRACE))
    ]
    assert fired == list(range(10, 30))


class Plant:
    """A registry with two devices and a rule, and two ingesters that watch it."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.engine = engine
        with Session(engine) as session:
            session.add_all([Device(device_id=name, device_name="n", device_type="t") for name in ("D1", "D2")])
            session.add(quiet_rule())
            session.commit()
        self.last_seens = [LastSeen(), LastSeen()]
        self.metrics = IngestMetrics()
        self.is_receiving = True
        registry = Registry(settings, engine)
        registry.load()
        self.watches = [
            NoDataMonitor(
                engine,
                registry,
                last_seen,
                Outbox(NotifySettings.load()),
                metrics=self.metrics,
                is_receiving=lambda: self.is_receiving,
            )
            for last_seen in self.last_seens
        ]
        self.registry = registry

    def see(self, device_id: str, *, ingester: int = 0) -> None:
        now = microseconds(utc_now())
        reading = Reading(device_id=device_id, time=now, metrics={"power": 1.0}, received_at=now)
        self.last_seens[ingester].record([reading])

    def tick(self) -> list[str]:
        for watch in self.watches:
            watch.tick()
        with Session(self.engine) as session:
            return list(session.exec(select(Alert.device_id).order_by(col(Alert.device_id))))

    def wait(self, minutes: float) -> None:
        """Let time pass, by moving everything that is on record into the past."""
        with Session(self.engine) as session:
            for kind, columns in (
                (DeviceLastSeen, ("last_seen_at",)),
                (Listening, ("since",)),
                (Alert, ("reading_time",)),
                (Device, ("created_at", "updated_at")),
                (SuppressedAlerts, ("last_reading_time",)),
            ):
                for row in session.exec(select(kind)):
                    for column in columns:
                        setattr(row, column, getattr(row, column) - timedelta(minutes=minutes))
                    session.add(row)
            session.commit()
        self.registry.load()


@pytest.fixture
def plant(settings: Settings, engine: Engine) -> Plant:
    return Plant(settings, engine)


def test_a_device_without_data_raises_one_alert_with_two_ingesters(plant: Plant) -> None:
    plant.see("D1")
    plant.see("D2", ingester=1)
    assert plant.tick() == []
    plant.wait(9)
    assert plant.tick() == []
    plant.see("D2", ingester=1)
    assert plant.tick() == []
    plant.wait(2)
    assert plant.tick() == plant.tick() == ["D1"]
    plant.see("D2")
    plant.wait(9)
    assert plant.tick() == ["D1"]
    plant.see("D1")  # it is back, and stops again
    assert plant.tick() == ["D1"]
    plant.wait(11)
    plant.see("D2")
    assert plant.tick() == ["D1", "D1"]
    with Session(plant.engine) as session:
        alert = session.exec(select(Alert)).first()
        assert alert
        assert alert.message == "No data for 11.0 minutes; the limit is 10.0"
        assert alert.threshold_value == 10
    assert plant.metrics.alerts == 2


def test_an_ingester_that_was_away_blames_nobody(plant: Plant) -> None:
    plant.see("D1")
    plant.see("D2")
    plant.tick()
    plant.is_receiving = False
    plant.wait(60)
    assert plant.tick() == []
    with Session(plant.engine) as session:
        listening = session.exec(select(Listening)).one()
        listening.until -= timedelta(minutes=60)
        session.add(listening)
        session.commit()
    plant.is_receiving = True
    assert plant.tick() == []
    plant.wait(11)
    assert plant.tick() == ["D1", "D2"]


def test_missing_data_in_maintenance_is_suppressed_once_and_raised_when_it_outlasts_it(plant: Plant) -> None:
    plant.see("D1")
    plant.see("D2")
    plant.tick()
    with Session(plant.engine) as session:
        device = session.get_one(Device, "D1")
        device.status = "maintenance"
        session.add(device)
        session.commit()
    plant.wait(11)
    plant.see("D2")
    assert plant.tick() == plant.tick() == []
    with Session(plant.engine) as session:
        assert session.exec(select(SuppressedAlerts.count)).all() == [1]
        session.get_one(Device, "D1").status = "active"
        session.commit()
    plant.wait(1)
    assert plant.tick() == ["D1"]


def test_what_is_last_seen_is_kept_also_when_the_database_fails_once(session: Session, engine: Engine) -> None:
    last_seen = LastSeen()
    last_seen.record([Reading(device_id="D1", time=NOW, metrics={}, received_at=microseconds(utc_now()))])
    connection = engine.connect()
    connection.close()
    with pytest.raises(ResourceClosedError):
        last_seen.save(Session(connection))
    last_seen.save(session)
    other = LastSeen()
    other.load(session)
    assert other.newest == {"D1": NOW}
