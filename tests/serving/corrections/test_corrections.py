"""Corrections over the API: checks, preview, list and undo, tenants, and what else shows them."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from assets.datasets import export_day
from storage.devices import Device
from storage.stores import Stores
from tests.support.plant import DAY, reading, store

PATH = "/api/v1/devices/D1/corrections"
RANGE = {"start_time": "2026-02-12T00:00:00Z", "end_time": "2026-02-13T00:00:00Z"}
REASON = {"reason": "The sensor was being cleaned"}
EXCLUDED: dict[str, Any] = {
    "metric": "power",
    "from": "2026-02-12T10:00:00Z",
    "to": "2026-02-12T11:00:00+00:00",
    "action": "exclude",
    **REASON,
}
Key = Callable[..., dict[str, str]]


@pytest.fixture
def plant(stores: Stores) -> Stores:
    """A day of D1 of acme: a power of 1 kW with one reading of 9.9 MW, and a register that jumps by 5,000 kWh."""
    metadata = '{"counters": {"kwh": {"unit": "kWh"}, "m3": {"unit": "m³"}}, "max_power_w": 20000000}'
    stores.session.add_all(
        [
            Device(device_id="D1", device_name="D1", device_type="p", tenant_id="acme", metadata_json=metadata),
            Device(device_id="D2", device_name="D2", device_type="p"),
        ]
    )
    store(
        stores,
        *(
            reading(m, power=9.9e6 if m == 600 else 1000, kwh=7000 + m / 60 + (5000 if m >= 700 else 0), m3=m)
            for m in range(0, 1440, 5)
        ),
        *(reading(m, "D2", power=9.9e6 if m == 600 else 1000) for m in range(0, 1440, 5)),
    )
    return stores


def energy(client: TestClient, device: str = "D1") -> dict[str, Any]:
    data: dict[str, Any] = client.get(f"/api/v1/data/energy/{device}", params=RANGE).json()["data"]
    return data


def stats(client: TestClient, device: str = "D1") -> dict[str, Any]:
    data: dict[str, Any] = client.get(f"/api/v1/data/stats/{device}", params=RANGE).json()["data"]
    return data


def test_a_corrected_value_is_not_out_of_band_any_more(client: TestClient, stores: Stores) -> None:
    stores.session.add(Device(device_id="D2", device_name="D2", device_type="p"))
    readings = [reading(m, "D2", power=9e5, voltage=900) for m in (590, 605, 610)]
    for one in readings:
        one.out_of_band = ["power", "voltage"]
    store(stores, *readings)
    client.post("/api/v1/devices/D2/corrections", json=EXCLUDED)
    path, ask = "/api/v1/data/telemetry/D2", {**RANGE, "order": "asc"}
    items = client.get(path, params={**ask, "corrected": True}).json()["data"]["items"]
    assert [item["out_of_band"] for item in items] == [["power", "voltage"], ["voltage"], ["voltage"]]
    client.post(
        "/api/v1/devices/D2/corrections", json={**EXCLUDED, "metric": "voltage", "action": "replace", "value": 230}
    )
    items = client.get(path, params={**ask, "corrected": True}).json()["data"]["items"]
    assert [item.get("out_of_band") for item in items] == [["power", "voltage"], None, None]
    raw = client.get(path, params=ask).json()["data"]["items"]
    assert [item["out_of_band"] for item in raw] == [["power", "voltage"]] * 3


def test_preview_correct_list_and_undo(client: TestClient, plant: Stores, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "serving.corrections")
    before = stats(client, "D2")
    path = "/api/v1/devices/D2/corrections"
    preview = client.post(path, params={"preview": True}, json=EXCLUDED)
    assert preview.status_code == 200
    shown = preview.json()["data"]
    assert (shown["readings"], [day["day"] for day in shown["days"]]) == (12, ["2026-02-12"])
    assert shown["before"]["energy_kwh"] == before["energy_kwh"]
    assert [(f["kind"], f["correction"]["action"]) for f in shown["findings_removed"]] == [
        ("single_reading", "exclude")
    ]
    assert client.get(path).json()["total"] == 0
    assert stats(client, "D2") == before

    made = client.post(path, json=EXCLUDED)
    assert made.status_code == 201
    row = made.json()["data"]
    assert (row["from"], row["to"], row["status"], row["created_by"]) == (
        "2026-02-12T10:00:00Z", "2026-02-12T11:00:00Z", "active", "anonymous",
    )  # fmt: skip
    assert f"correction {row['correction_id']} of D2 was made by anonymous" in caplog.text
    after = stats(client, "D2")
    assert after["energy_kwh"] == shown["after"]["energy_kwh"] != before["energy_kwh"]
    assert after["peak_demand_15min"] == shown["after"]["peak_demand_15min"] == 1000
    assert after["energy_coverage"] == shown["after"]["coverage"]
    assert (after["power_max"], after["power_avg"]) == (shown["metric_after"]["max"], shown["metric_after"]["mean"])
    assert after["energy_findings"] == []

    raw = client.get("/api/v1/data/telemetry/D2", params=RANGE).json()["data"]["items"]
    corrected = client.get("/api/v1/data/telemetry/D2", params={**RANGE, "corrected": True}).json()["data"]["items"]
    assert max(item["power"] for item in raw) == 9.9e6
    assert [item["power"] for item in corrected if item["corrected"]] == [None] * 12
    query = {"device_id": "D2", "corrected": True, "aggregate": "max", "interval": "1d", **RANGE}
    [window] = client.post("/api/v1/data/query", json=query).json()["data"]["items"]
    assert window["power"] == 1000

    one = f"{path}/{row['correction_id']}/undo"
    undone = client.post(one, params={"preview": True}).json()["data"]
    assert (undone["before"], undone["after"]) == (shown["after"], shown["before"])
    assert client.post(one, json={"reason": "It was real"}).json()["data"]["undone_reason"] == "It was real"
    assert client.post(one).json()["data"]["undone_reason"] == "It was real"
    assert stats(client, "D2") == before
    assert client.get(path, params={"status": "active"}).json()["total"] == 0
    [correction] = client.get(path, params={"status": "undone"}).json()["data"]
    assert (correction["status"], correction["reason"], correction["undone_by"]) == (
        "undone",
        REASON["reason"],
        "anonymous",
    )


def test_a_finding_carries_the_correction_that_settles_it(client: TestClient, plant: Stores) -> None:
    export_day(plant, "D1", DAY)
    before = energy(client)
    [finding] = before["findings"]
    assert (finding["kind"], finding["correction"]["action"]) == ("jump", "confirm")
    assert client.post(PATH, json=finding["correction"] | REASON).status_code == 201
    after = energy(client)
    assert after["findings"] == []
    assert after["energy_kwh"] == pytest.approx(before["energy_kwh"] + 5000 + 5 / 60)
    export_day(plant, "D1", DAY)
    assert energy(client) == after


def test_an_amount_of_a_counter(client: TestClient, plant: Stores) -> None:
    before = energy(client)
    given = EXCLUDED | {"metric": "kwh", "action": "replace", "value": 3.5}
    assert client.post(PATH, json=given).json()["data"]["unit"] == "kWh"
    after = energy(client)
    assert after["energy_kwh"] == pytest.approx(before["energy_kwh"] + 2.5)
    assert after["items"][10]["energy_kwh"] == 3.5
    # The newest one decides where they overlap.
    assert client.post(PATH, json=given | {"from": "2026-02-12T10:30:00Z", "value": 1}).status_code == 201
    assert energy(client)["items"][10]["energy_kwh"] == 1.75 + 1


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"to": "2026-02-12T10:00:00Z"}, "from", "from must be before to"),
        ({"to": "2026-03-30T10:00:00Z"}, "to", "longer than 32 days"),
        ({"from": "2126-02-12T10:00:00Z", "to": "2126-02-12T11:00:00Z"}, "to", "in the future"),
        ({"from": "1999-12-31T10:00:00Z", "to": "1999-12-31T11:00:00Z"}, "from", "before 2000"),
        ({"metric": "powr"}, "metric", "no readings of powr in this range; it has readings of power, kwh, m3 there"),
        ({"metric": "timestamp"}, "metric", "reserved"),
        ({"metric": "power_factor"}, "metric", "derived from voltage, current and power"),
        ({"action": "delete"}, "action", "exclude"),
        ({"action": "replace"}, "value", "replace needs a value"),
        ({"value": 5}, "value", "exclude takes no value"),
        ({"action": "replace", "value": "5"}, "value", "not a number"),
        (
            {"action": "replace", "value": 1e9},
            "value",
            "1000000000 is outside the plausible limits of power, -10000000 to 10000000",
        ),
        ({"action": "replace", "value": 1.0, "metric": "speed"}, "metric", "no readings of speed"),
        ({"action": "replace", "metric": "kwh", "value": -1}, "value", 'declared "net": true'),
        ({"action": "replace", "metric": "kwh", "value": 30_000}, "value", "more than max_power_w allows"),
        ({"action": "replace", "metric": "m3", "value": 1e10}, "value", "more than a counter can count"),
        ({"action": "confirm"}, "action", "nothing to confirm"),
        ({"reason": ""}, "reason", "reason: is empty; give at least one character"),
        ({"reason": "  "}, "reason", "blank"),
        ({"reason": "x" * 2001}, "reason", "has 2001 characters; give at most 2000"),
        ({"note": "x"}, "note", ""),
    ],
)
def test_what_makes_no_sense_is_refused(
    client: TestClient, plant: Stores, change: dict[str, Any], field: str, message: str
) -> None:
    for preview in (True, False):
        answer = client.post(PATH, params={"preview": preview}, json=EXCLUDED | change)
        assert answer.status_code == 422
        problem = answer.json()
        assert message in problem["detail"]
        assert [error["field"].removeprefix("body.") for error in problem["errors"]] == [field]
    assert client.get(PATH).json()["total"] == 0


def test_a_value_that_would_not_be_counted_is_refused(client: TestClient, plant: Stores) -> None:
    assert client.patch("/api/v1/devices/D2", json={"metadata": {"max_power_w": 2000}}).status_code == 200
    given = EXCLUDED | {"action": "replace", "value": 2000.5}
    answer = client.post("/api/v1/devices/D2/corrections", json=given)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "value")
    assert "2000.5 W is more than max_power_w, 2000 W" in answer.json()["detail"]
    assert client.post("/api/v1/devices/D2/corrections", json=given | {"value": -2000}).status_code == 201


def test_unknown_devices_and_corrections(client: TestClient, plant: Stores) -> None:
    assert client.post("/api/v1/devices/D9/corrections", json=EXCLUDED).status_code == 404
    assert client.get("/api/v1/devices/D9/corrections").status_code == 404
    made = client.post(PATH, json=EXCLUDED).json()["data"]["correction_id"]
    for path in (f"{PATH}/{made + 1}", f"{PATH}/{2**70}", f"/api/v1/devices/D2/corrections/{made}"):
        answer = client.post(f"{path}/undo")
        assert answer.status_code == 404
        assert "lists its corrections" in answer.json()["detail"]


def test_a_tenant_corrects_its_own_devices_only(client: TestClient, plant: Stores, key: Key) -> None:
    own, other, reads = key("operate", "acme"), key("operate", "globex"), key("read", "acme")
    assert client.post(PATH, json=EXCLUDED, headers=reads).status_code == 403
    for path in (PATH, "/api/v1/devices/D2/corrections"):
        assert client.post(path, json=EXCLUDED, headers=other).status_code == 404
        assert client.get(path, headers=other).status_code == 404
    made = client.post(PATH, json=EXCLUDED, headers=own).json()["data"]
    assert made["created_by"] == "operate of acme"
    assert client.post(f"{PATH}/{made['correction_id']}/undo", headers=other).status_code == 404
    assert client.get(PATH, headers=reads).json()["total"] == 1
    # What an administrator corrects of a device counts for its tenant as well.
    admin = key("admin")
    given = EXCLUDED | {"action": "replace", "value": 7}
    assert client.post(PATH, json=given, headers=admin).status_code == 201
    items = client.get("/api/v1/data/stats/D1", params=RANGE, headers=reads).json()["data"]
    assert items["power_min"] == 7


def test_the_audit_log_names_the_correction(client: TestClient, plant: Stores) -> None:
    made = client.post(PATH, json=EXCLUDED).json()["data"]["correction_id"]
    client.post(f"{PATH}/{made}/undo")
    entries = client.get("/api/v1/audit?entity=corrections").json()["data"]
    assert [(e["action"], e["entity_id"]) for e in entries] == [("update", str(made)), ("create", str(made))]
    assert entries[1]["change"]["reason"] == REASON["reason"]
