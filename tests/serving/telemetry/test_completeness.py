"""How complete days are, and which of them wait for an export."""

from collections.abc import Callable
from datetime import timedelta

from fastapi.testclient import TestClient

from assets.datasets import export_day
from storage.devices import Device
from storage.stores import Stores
from tests.support.plant import DAY, reading, store

Key = Callable[..., dict[str, str]]
RANGE = {"start_date": str(DAY - timedelta(days=1)), "end_date": str(DAY + timedelta(days=1))}


def test_days_of_devices(client: TestClient, stores: Stores, key: Key) -> None:
    for device_id, tenant_id in (("D1", "acme"), ("D2", None)):
        stores.session.add(
            Device(device_id=device_id, device_name=f"Pump {device_id}", device_type="pump", tenant_id=tenant_id)
        )
    store(stores, *(reading(minute) for minute in range(720)), reading(1440 + 5))
    export_day(stores, "D1", DAY)
    first, second = client.get("/api/v1/data/completeness", params=RANGE).json()["data"]
    whole, late = first["days"]
    assert (whole["day"], whole["rows"], whole["status"], whole["waiting"]) == (str(DAY), 720, "warn", False)
    assert round(whole["coverage"], 2) == 0.5
    assert "completeness" in whole["findings"]
    assert late == {
        "day": str(DAY + timedelta(days=1)), "rows": None, "coverage": None, "status": None, "findings": {},
        "waiting": True, "late": True,
    }  # fmt: skip
    assert (second["device_name"], second["days"]) == ("Pump D2", [])
    (waiting,) = client.get("/api/v1/exports/waiting", params={"late": True}).json()["data"]
    assert (waiting["device_id"], waiting["day"], waiting["late"]) == ("D1", late["day"], True)
    assert client.get("/api/v1/exports/waiting", params={"late": False}).json()["total"] == 0
    acme, other = key("read", "acme"), key("read", "other")
    seen = client.get("/api/v1/data/completeness", params=RANGE, headers=acme).json()
    assert [d["device_id"] for d in seen["data"]] == ["D1"]
    assert client.get("/api/v1/data/completeness", params=RANGE, headers=other).json()["total"] == 0
    assert client.get("/api/v1/exports/waiting", headers=other).json()["total"] == 0


def test_ranges_that_make_no_sense(client: TestClient) -> None:
    for start, end in (("2026-02-02", "2026-02-01"), ("2026-01-01", "2026-12-31"), (None, "0001-01-01")):
        answer = client.get(
            "/api/v1/data/completeness", params={"end_date": end} | ({"start_date": start} if start else {})
        )
        assert answer.status_code == 422
