"""A rule raises an alert when what was measured leaves the stored forecast's band for hours in a row."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlmodel import select

from ingest.rules import MeasuredHour
from orchestration.analyses.outside_forecast import compare_hours, watch_forecasts
from orchestration.resources import Platform
from storage.alerts import Alert
from storage.devices import Device
from storage.jobs import AnalyticsJob, new_job_id
from storage.maintenance import MaintenanceWindow, SuppressedAlerts
from storage.notifications import Notification
from storage.rules import Rule
from storage.stores import Stores
from storage.times import rfc3339
from tests.support.plant import reading, store

MIDNIGHT = datetime(2026, 2, 12, tzinfo=UTC)
NOW = MIDNIGHT + timedelta(hours=10, minutes=5)


def forecast(stores: Stores, device_id: str = "D1", **fields: Any) -> None:
    """A stored forecast of 90 to 110 for each hour of the day."""
    shift = fields.pop("shift", timedelta(0))
    level = fields.pop("level", 100.0)
    points = [
        {"timestamp": rfc3339(MIDNIGHT + shift + timedelta(hours=h)), "value": level, "lower": level - 10,
         "upper": level + 10}
        for h in range(24)
    ]  # fmt: skip
    values: dict[str, Any] = {
        "job_id": new_job_id(AnalyticsJob), "device_id": device_id, "analysis_type": "forecast", "model_name": "auto",
        "status": "completed", "date_range_start": MIDNIGHT - timedelta(days=28), "date_range_end": MIDNIGHT,
        "completed_at": MIDNIGHT + timedelta(hours=4), "results": {"metric": "power", "forecast": points},
    }  # fmt: skip
    stores.session.add(AnalyticsJob(**(values | fields)))
    stores.session.commit()


def rule(stores: Stores, **fields: Any) -> None:
    values: dict[str, Any] = {
        "rule_name": "Otherwise than expected", "scope": "all_devices", "property": "power", "threshold": 2,
        "condition": "outside_forecast", "cooldown_minutes": 0, "notification_channels": ["email"],
    }  # fmt: skip
    stores.session.add(Rule(**(values | fields)))
    stores.session.commit()


def measured(stores: Stores, powers: dict[int, float], device_id: str = "D1", minutes: range = range(60)) -> None:
    """Readings of these powers, by hour; of the hours before, 100."""
    hours = dict.fromkeys(range(4, 10), 100.0) | powers
    store(stores, *(reading(h * 60 + m, device_id, power=p) for h, p in hours.items() for m in minutes))


@pytest.fixture
def machine(stores: Stores) -> Stores:
    stores.session.add(Device(device_id="D1", device_name="M", device_type="press"))
    stores.session.commit()
    return stores


def alerts(stores: Stores, now: datetime = NOW) -> list[Alert]:
    compare_hours(stores, now)
    return list(stores.session.exec(select(Alert)))


def test_two_hours_in_a_row_outside_the_band_raise_an_alert(machine: Stores) -> None:
    forecast(machine)
    rule(machine)
    measured(machine, {8: 150.0, 9: 160.0})
    (alert,) = alerts(machine)
    assert alert.message == (
        "Power was outside its forecast for 2 hours in a row, at last 160 where 90 to 110 W was expected"
    )
    assert (alert.actual_value, alert.reading_time) == (160, MIDNIGHT + timedelta(hours=10))
    assert [n.channel for n in machine.session.exec(select(Notification))] == ["email"]
    assert len(alerts(machine)) == 1  # the same hour, asked for again


@pytest.mark.parametrize(
    ("powers", "minutes", "threshold"),
    [
        ({9: 150.0}, range(60), 2),
        ({8: 150.0}, range(60), 2),
        ({8: 150.0, 9: 150.0}, range(60), 3),
        ({8: 109.0, 9: 91.0}, range(60), 2),
        ({8: 150.0, 9: 150.0}, range(30), 2),  # half of each hour is covered
    ],
)
def test_no_alert(machine: Stores, powers: dict[int, float], minutes: range, threshold: int) -> None:
    forecast(machine)
    rule(machine, threshold=threshold)
    measured(machine, powers, minutes=minutes)
    assert alerts(machine) == []


def test_below_the_band_and_one_hour_is_enough_if_the_rule_says_so(machine: Stores) -> None:
    forecast(machine)
    rule(machine, threshold=1)
    measured(machine, {9: 0.0})
    assert [alert.actual_value for alert in alerts(machine)] == [0]


def test_the_newest_forecast_counts_that_did_not_know_the_hours(machine: Stores) -> None:
    rule(machine)
    forecast(machine, level=100.0)
    yesterday, today = MIDNIGHT - timedelta(days=1), MIDNIGHT + timedelta(days=1)
    forecast(machine, level=150.0, date_range_end=yesterday, parameters={"horizon_hours": 48})
    forecast(machine, level=150.0, date_range_end=today)
    forecast(machine, level=150.0, status="failed")
    forecast(machine, level=150.0, results={"metric": "temperature", "forecast": []})
    measured(machine, {8: 150.0, 9: 150.0})
    assert len(alerts(machine)) == 1


def test_without_a_forecast_that_reaches_so_far_nothing_is_compared(machine: Stores) -> None:
    rule(machine)
    forecast(machine, shift=timedelta(days=-1), date_range_end=MIDNIGHT - timedelta(days=1))
    measured(machine, {8: 150.0, 9: 150.0})
    assert compare_hours(machine, NOW) == (0, 0)


def test_hours_that_begin_at_half_past(machine: Stores) -> None:
    forecast(machine, shift=timedelta(minutes=30))
    rule(machine)
    measured(machine, {7: 150.0, 8: 150.0, 9: 150.0})
    (alert,) = alerts(machine)
    assert alert.reading_time == MIDNIGHT + timedelta(hours=9, minutes=30)


def test_maintenance_suppresses_and_other_tenants_are_not_watched(machine: Stores) -> None:
    session = machine.session
    session.add(Device(device_id="D2", tenant_id="beta", device_name="M", device_type="press"))
    window: dict[str, Any] = {"starts_at": MIDNIGHT, "ends_at": MIDNIGHT + timedelta(hours=9), "reason": "bearing"}
    session.add(MaintenanceWindow(device_id="D1", **window))
    session.commit()
    for device_id in ("D1", "D2"):
        forecast(machine, device_id)
        measured(machine, {8: 150.0, 9: 150.0}, device_id)
    rule(machine, tenant_id="alpha")
    assert alerts(machine) == []
    rule(machine)
    assert [alert.device_id for alert in alerts(machine)] == ["D2"]
    assert [row.device_id for row in session.exec(select(SuppressedAlerts))] == ["D1"]


def test_outside_active_hours_there_is_no_alert(machine: Stores) -> None:
    forecast(machine)
    measured(machine, {8: 150.0, 9: 150.0})
    rule(machine, active_hours={"days": [0, 1, 2, 3, 4, 5, 6], "from": "10:00", "to": "18:00"})
    assert alerts(machine) == []


def test_energy_is_compared_by_the_intervals(machine: Stores) -> None:
    points = [{"timestamp": rfc3339(MIDNIGHT + timedelta(hours=h)), "value": 0.1, "lower": 0.09, "upper": 0.11}
              for h in range(24)]  # fmt: skip
    forecast(machine, results={"metric": "energy", "forecast": points})
    rule(machine, property="energy")
    measured(machine, {8: 150.0, 9: 150.0, 10: 150.0})
    (alert,) = alerts(machine)
    assert alert.actual_value == pytest.approx(0.15, rel=0.02)
    assert alert.message.endswith("where 0.09 to 0.11 kWh was expected")


def test_a_value_at_the_edge_of_the_band_is_inside() -> None:
    hour = MeasuredHour(0, 110.00001, 1.0, 90.0, 110.0)
    assert not hour.is_outside
    assert MeasuredHour(0, 110.1, 0.8, 90.0, 110.0).is_outside
    assert not MeasuredHour(0, 110.1, 0.79, 90.0, 110.0).is_outside


def test_the_schedule_asks_only_if_a_rule_does(
    machine: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    def tick() -> Any:
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=NOW, resources={"platform": platform}
        ) as context:
            return watch_forecasts(context)

    assert isinstance(tick(), dg.SkipReason)
    rule(machine, status="paused")
    assert isinstance(tick(), dg.SkipReason)
    rule(machine)
    assert isinstance(tick(), dg.RunRequest)
