from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from assets.datasets.export import export_day
from storage import dirty_days
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import MINUTE, microseconds, midnight, rfc3339, utc_now

PATH = "/api/v1/rules/preview"
RULE: dict[str, Any] = {"rule_name": "Hot", "scope": "all_devices", "property": "temperature", "condition": ">",
                        "threshold": 60, "cooldown_minutes": 15}  # fmt: skip


class Past:
    """A device's past: days in files, others in the telemetry store."""

    def __init__(self, client: TestClient, session: Session) -> None:
        state = client.app.state  # type: ignore[attr-defined] # a FastAPI
        self.client = client
        self.today = midnight(utc_now().date())
        self.stores = Stores(session, state.telemetry, state.objects, ZoneInfo("UTC"))
        client.post("/api/v1/devices", json={"device_id": "D1", "device_name": "n", "device_type": "t"})

    def day(self, days_ago: int, hot: dict[int, float], *, export: bool = True, minutes: int = 120) -> None:
        """A reading a minute, of 50 degrees but at the `hot` minutes."""
        start = microseconds(self.today - timedelta(days=days_ago))
        readings = [
            Reading(device_id="D1", time=start + m * MINUTE, metrics={"temperature": hot.get(m, 50.0)},
                    received_at=start)
            for m in range(minutes)
        ]  # fmt: skip
        self.stores.telemetry.write(readings)
        dirty_days.mark_dirty(self.stores.session, (("D1", reading.time) for reading in readings))
        self.stores.session.commit()
        if export:
            export_day(self.stores, "D1", self.today.date() - timedelta(days=days_ago))

    def preview(self, days: int = 3, **changes: Any) -> dict[str, Any]:
        body = {"rule": RULE | changes, "start_time": (self.today - timedelta(days=days)).isoformat(),
                "end_time": (self.today + timedelta(days=1)).isoformat()}  # fmt: skip
        answer = self.client.post(PATH, json=body)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def at(self, days_ago: int, minute: int) -> str:
        return rfc3339(self.today - timedelta(days=days_ago) + timedelta(minutes=minute))


@pytest.fixture
def past(client: TestClient, session: Session) -> Past:
    return Past(client, session)


def test_files_and_open_days_are_one(past: Past) -> None:
    past.day(2, {10: 70.0, 11: 71.0, 40: 72.0})
    past.day(1, {})
    past.day(0, {5: 73.0})
    found = past.preview()
    assert [(e["time"], e["value"]) for e in found["items"]] == [
        (past.at(2, 10), 70.0),
        (past.at(2, 40), 72.0),
        (past.at(0, 5), 73.0),
    ]
    assert (found["episodes"], found["truncated"]) == (3, False)
    assert found["devices"] == [{"device_id": "D1", "readings": 360, "episodes": 3, "held_back": 0}]
    assert past.preview(cooldown_minutes=0)["episodes"] == 4
    assert past.preview(property="vibration")["devices"][0]["readings"] == 0
    assert past.client.get("/api/v1/alerts").json()["total"] == 0


def test_a_hold_crosses_midnight_and_files(past: Past) -> None:
    past.day(2, dict.fromkeys(range(1430, 1440), 70.0), minutes=1440)
    past.day(1, dict.fromkeys(range(5), 70.0))
    assert [e["time"] for e in past.preview(for_seconds=720)["items"]] == [past.at(1, 2)]
    assert past.preview(for_seconds=900)["episodes"] == 0


def test_a_day_that_the_catalogue_rules_out_is_not_read(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    past.day(2, dict.fromkeys(range(110, 120), 70.0))
    past.day(1, {})
    past.day(0, {0: 70.0})
    read: list[str] = []
    plain = past.stores.objects.get

    def get(_: Any, key: str) -> bytes:
        read.append(key)
        return plain(key)

    monkeypatch.setattr(type(past.stores.objects), "get", get)
    found = past.preview(for_seconds=600)
    assert [key.split("/")[-1][:8] for key in read] == [
        f"{past.today - timedelta(days=2):%Y%m%d}",
        f"{past.today:%Y%m%d}",
    ]
    assert (found["episodes"], found["devices"][0]["readings"]) == (0, 360)  # the day between ended the hold


def test_late_readings_of_an_exported_day_count(past: Past) -> None:
    past.day(1, {})
    past.day(1, {7: 70.0}, export=False)
    assert [e["time"] for e in past.preview()["items"]] == [past.at(1, 7)]


def test_the_preview_counts_suppressed_alerts_too(past: Past) -> None:
    past.day(1, {10: 70.0, 60: 70.0})
    window = {"device_id": "D1", "from": past.at(1, 0), "to": past.at(1, 30)}
    past.client.post("/api/v1/maintenance-windows", json=window)
    found = past.preview()
    assert ([e["time"] for e in found["items"]], found["held_back"]) == ([past.at(1, 60)], 1)


def test_a_plant_without_devices_has_no_episodes(client: TestClient) -> None:
    found = client.post(PATH, json={"rule": RULE}).json()["data"]
    assert (found["episodes"], found["devices"]) == (0, [])


def test_a_rule_that_stands(past: Past) -> None:
    past.day(1, {10: 70.0})
    rule = past.client.post("/api/v1/rules", json=RULE).json()["data"]
    found = past.client.post(PATH, json={"rule_id": rule["rule_id"]}).json()["data"]
    assert found["episodes"] == 1
    missing = "00000000-0000-0000-0000-000000000000"
    assert past.client.post(PATH, json={"rule_id": missing}).status_code == 404


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "either rule_id or rule"),
        ({"rule": RULE, "start_time": "2026-02-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"}, "must be before"),
        ({"rule": RULE, "start_time": "1980-01-01T00:00:00Z"}, "Choose fewer devices"),
        ({"rule": RULE, "device_ids": ["D9"]}, "does not watch any"),
        ({"rule": RULE | {"condition": "no_data", "property": None}}, "a no_data rule has no preview"),
        ({"rule": RULE, "start_time": "2026-02-01T00:00:00"}, "has no offset"),
    ],
)
def test_refused(past: Past, body: dict[str, Any], says: str) -> None:
    answer = past.client.post(PATH, json=body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
