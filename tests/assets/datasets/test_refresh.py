"""Homes that live: what an older version kept in the catalogue is made again, and never mixed with new figures."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from assets.datasets import export_day, refresh_energy
from serving.app import create_app
from storage import catalogue, day_figures
from storage.settings import Settings
from storage.stores import Stores
from storage.times import HOUR, MINUTE
from tests.support.plant import DAY, START, reading, store

DAYS = 30
# What release 1.0 kept of a day: figures of its own, in kWh.
OLD = {"quarters": [99.0] * 96, "source": "integral:power", "first": [START, 1.0], "last": [START, 1.0], "gap": 1}


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def old_home(stores: Stores) -> Stores:
    """Thirty days of a reading every half hour, whose files an older version made."""
    store(stores, *(reading(30 * i, power=1000.0, kwh=100 + i / 2) for i in range(DAYS * 48 + 1)))
    for day in range(DAYS):
        assert export_day(stores, "D1", DAY + timedelta(days=day))
    for row in catalogue.datasets_of(stores.session, "D1", kind="day"):
        row.energy = OLD
    stores.session.commit()
    return stores


def statistics(client: TestClient, days: float = DAYS) -> dict[str, Any]:
    start = datetime(2026, 2, 12, tzinfo=UTC)
    period = {"start_time": start.isoformat(), "end_time": (start + timedelta(days=days)).isoformat()}
    answer = client.get("/api/v1/data/stats/D1", params=period)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def test_an_old_catalogue_is_refilled_and_answers_are_right_meanwhile(old_home: Stores, client: TestClient) -> None:
    before = statistics(client)
    assert (before["energy_kwh"], before["energy_outdated_days"]) == (DAYS * 24, DAYS)
    told: list[tuple[int, int]] = []
    assert refresh_energy(old_home, lambda done, total: told.append((done, total))) == DAYS
    assert told[-1] == (DAYS, DAYS)
    after = statistics(client)
    assert after == before | {"energy_outdated_days": 0}
    assert day_figures.count_outdated(old_home.session) == 0
    assert refresh_energy(old_home) == 0
    sizes = [row.bytes for row in catalogue.datasets_of(old_home.session, "D1", kind="day")]
    assert len(sizes) == DAYS


def test_hours_without_the_number_of_readings_are_refilled_and_answers_are_right_meanwhile(
    old_home: Stores, client: TestClient
) -> None:
    refresh_energy(old_home)
    row = catalogue.datasets_of(old_home.session, "D1", kind="day")[3]
    assert row.hourly is not None
    complete = row.hourly
    row.hourly = {name: hours for name, hours in complete.items() if name != "timestamp"}
    old_home.session.commit()
    before = statistics(client, 3.6)
    assert (before["data_points"], before["energy_outdated_days"]) == (173, 0)
    assert refresh_energy(old_home) == 1
    old_home.session.expire_all()
    assert row.hourly == complete
    assert statistics(client, 3.6) == before


def test_a_change_of_metadata_changes_the_figures_at_once_and_the_catalogue_later(
    old_home: Stores, client: TestClient
) -> None:
    refresh_energy(old_home)
    device = {"device_id": "D1", "device_name": "n", "device_type": "t"}
    assert client.post("/api/v1/devices", json=device).status_code == 201
    assert statistics(client)["energy_outdated_days"] == 0
    body = {"metadata_json": {"counters": {"kwh": {"unit": "kWh", "factor": 2}}}}
    assert client.patch("/api/v1/devices/D1", json=body).status_code == 200
    changed = statistics(client)
    assert (changed["energy_kwh"], changed["energy_source"]) == (DAYS * 48, "counter:kwh")
    old_home.session.expire_all()
    assert day_figures.count_outdated(old_home.session) == DAYS
    assert refresh_energy(old_home) == DAYS
    assert statistics(client) == changed | {"energy_outdated_days": 0}
    client.patch("/api/v1/devices/D1", json={"device_name": "another"})
    assert statistics(client)["energy_outdated_days"] == 0


def test_a_file_that_is_missing_is_left_and_does_not_stop_the_others(old_home: Stores) -> None:
    first = catalogue.datasets_of(old_home.session, "D1", kind="day")[0]
    old_home.objects.delete(first.key)
    assert refresh_energy(old_home) == DAYS - 1


def test_a_gap_longer_than_the_limit_is_in_the_total_and_in_no_quarter(stores: Stores, client: TestClient) -> None:
    minutes = [*range(0, 600, 10), *range(1200, 1441, 10)]
    store(stores, *(reading(m, kwh=m / 60) for m in minutes))
    body = {"device_id": "D1", "device_name": "n", "device_type": "t"}
    metadata = {"metadata_json": {"counters": {"kwh": {"unit": "kWh"}}}}
    assert client.post("/api/v1/devices", json=body | metadata).status_code == 201
    found = statistics(client, 1)
    assert found["energy_kwh"] == pytest.approx(24)
    assert found["peak_demand_15min"] == pytest.approx(1000)
    assert found["energy_coverage"] == pytest.approx((24 * HOUR - 610 * MINUTE) / (24 * HOUR))
    assert [f["kind"] for f in found["energy_findings"]] == ["gap"]
