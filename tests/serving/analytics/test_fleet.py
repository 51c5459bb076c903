"""The fleet ranked by its newest analyses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlmodel import Session

from assets.analyses import ranking_of
from storage.devices import Device
from storage.jobs import AnalyticsJob, new_job_id
from storage.times import utc_now

END = datetime(2026, 2, 12, tzinfo=UTC)
Key = Callable[..., dict[str, str]]


def job(device_id: str, analysis_type: str, ranking: float | None, **fields: Any) -> AnalyticsJob:
    values: dict[str, Any] = {
        "job_id": new_job_id(AnalyticsJob), "tenant_id": "alpha", "device_id": device_id, "model_name": "m",
        "analysis_type": analysis_type, "status": "completed", "date_range_start": END - timedelta(days=28),
        "date_range_end": END, "completed_at": END + timedelta(hours=3), "ranking": ranking,
    }  # fmt: skip
    return AnalyticsJob(**(values | fields))


def device(device_id: str, tenant_id: str = "alpha", **fields: Any) -> Device:
    values: dict[str, Any] = {"device_name": f"name of {device_id}", "device_type": "press", **fields}
    return Device(device_id=device_id, tenant_id=tenant_id, **values)


@pytest.fixture
def fleet(session: Session) -> None:
    session.add_all([device("D1"), device("D2"), device("D3", device_type="pump"), device("D4")])
    session.add_all([device("E1", "beta"), device("D5", deleted_at=END)])
    session.add_all([
        job("D1", "anomaly", 0.6),
        job("D1", "anomaly", 0.9, date_range_end=END - timedelta(days=1), completed_at=utc_now()),
        job("D1", "anomaly", None, date_range_end=END + timedelta(days=1)),
        job("D1", "forecast", 12.0),
        job("D1", "forecast", 99.0, completed_at=END + timedelta(hours=2)),
        job("D2", "anomaly", 0.8),
        job("D2", "prediction", 0.02),
        job("D3", "anomaly", 0.6),
        job("D3", "forecast", 40.0),
        job("D5", "anomaly", 1.0),
        job("E1", "anomaly", 1.0, tenant_id="beta"),
    ])  # fmt: skip
    session.commit()


def ranked(client: TestClient, headers: dict[str, str], query: str = "") -> list[str]:
    return [
        row["device_id"] for row in client.get(f"/api/v1/analytics/fleet{query}", headers=headers).json()["devices"]
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["D2", "D3", "D1", "D4"]),
        ("?sort=anomaly", ["D3", "D1", "D2", "D4"]),
        ("?sort=-risk", ["D2", "D3", "D1", "D4"]),
        ("?sort=-energy", ["D3", "D1", "D2", "D4"]),
        ("?sort=energy", ["D1", "D3", "D2", "D4"]),
        ("?page=2&page_size=3", ["D4"]),
        ("?device_type=pump", ["D3"]),
        ("?search=of%20D1", ["D1"]),
        ("?tenant_id=beta", []),
    ],
)
def test_devices_are_ranked(fleet: None, client: TestClient, key: Key, query: str, expected: list[str]) -> None:
    assert ranked(client, key("read", "alpha"), query) == expected


def test_each_figure_names_the_job_whose_data_are_newest(fleet: None, client: TestClient, key: Key) -> None:
    answer = client.get("/api/v1/analytics/fleet?search=D1", headers=key("read", "alpha")).json()
    (row,) = answer["devices"]
    assert (answer["total"], answer["page"], answer["page_size"]) == (1, 1, 20)
    assert (row["anomaly"]["score"], row["failure_risk"], row["expected_energy"]["kwh"]) == (0.6, None, 12)
    behind = row["anomaly"]["job"]
    assert (behind["until"], behind["completed_at"]) == ("2026-02-12T00:00:00Z", "2026-02-12T03:00:00Z")
    assert behind["age_seconds"] == pytest.approx((utc_now() - END).total_seconds(), abs=60)


def test_data_never_reach_into_the_future(fleet: None, client: TestClient, key: Key, session: Session) -> None:
    """A range may end tomorrow; the last reading is what counts, and without it when the job was completed."""
    now = utc_now().replace(microsecond=0)
    tomorrow, last = now + timedelta(days=1), now - timedelta(hours=5)
    session.add_all([
        job("D4", "anomaly", 0.7, date_range_end=tomorrow, data_until=last, completed_at=now),
        job("D4", "forecast", 0.1 + 0.2, date_range_end=tomorrow, completed_at=now),
    ])  # fmt: skip
    session.commit()
    (row,) = client.get("/api/v1/analytics/fleet?search=D4", headers=key("read", "alpha")).json()["devices"]
    assert datetime.fromisoformat(row["anomaly"]["job"]["until"]) == last
    energy = row["expected_energy"]
    assert datetime.fromisoformat(energy["job"]["until"]) == now
    assert (energy["kwh"], 0 <= energy["job"]["age_seconds"] < 600) == (0.3, True)


def test_a_key_of_all_tenants_sees_all_and_others_their_own(fleet: None, client: TestClient, key: Key) -> None:
    assert ranked(client, key("read", "beta")) == ["E1"]
    assert ranked(client, key("read"))[0] == "E1"


def test_a_page_is_one_question(fleet: None, client: TestClient, key: Key) -> None:
    headers = key("read", "alpha")
    statements: list[str] = []
    event.listen(client.app.state.engine, "before_cursor_execute", lambda *sent: statements.append(sent[2]))  # type: ignore[attr-defined] # TestClient's app is any ASGI app
    ranked(client, headers)
    assert len([statement for statement in statements if "FROM devices" in statement and "LATERAL" in statement]) == 1


def test_the_figure_of_each_analysis() -> None:
    old, new = "2026-02-10T20:00:00Z", "2026-02-11T09:00:00Z"
    events = [{"score": 0.9, "end": old}, {"score": 0.6, "end": new}, {"score": 0.7, "end": new}]
    assert ranking_of("anomaly", {"events": events}, END) == 0.7
    assert ranking_of("anomaly", {"events": events[:1]}, END) == 0
    assert ranking_of("prediction", {"failure_probability": 0.3}, END) == 0.3
    hours = [{"value": 500.0}] * 30
    assert ranking_of("forecast", {"metric": "power", "forecast": hours}, END) == 12
    assert ranking_of("forecast", {"metric": "energy", "forecast": hours[:24]}, END) == 12_000
    assert ranking_of("forecast", {"metric": "energy", "forecast": hours[:23]}, END) is None
    assert ranking_of("forecast", {"metric": "temperature", "forecast": hours}, END) is None
