"""What people do on a machine's page: change what is registered, and handle its alerts."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urljoin

from fastapi.testclient import TestClient

from assets.datasets import export_day
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import microseconds, utc_now
from tests.serving.pages.test_machines import HTML, page, register, send
from tests.support.browsing import Browser
from tests.support.plant import DAY, reading, store

FIELDS = {"device_name": "Press 1", "device_type": "press", "status": "maintenance"}


def version_of(shown: str) -> str:
    found = re.search(r'name="version" value="([^"]+)"', shown)
    assert found
    return found[1].replace("&#34;", '"')


def test_a_machine_is_changed_on_its_page(client: TestClient) -> None:
    register(client, "D1", location="Hall 1", metadata_json={"own_key": [1], "bands": {"power": [0, 500]}})
    browser = Browser(client)
    shown = browser.page("/machines/D1/edit")
    assert "Hall 1" in shown
    assert "&#34;own_key&#34;" in shown
    version, metadata = version_of(shown), json.dumps({"own_key": [1], "idle_below_w": 100})
    changed = browser.send("/machines/D1/edit", **FIELDS, metadata_json=metadata, version=version, root="../../")
    assert (changed.status_code, changed.headers.get("HX-Redirect")) == (204, "../../machines/D1"), changed.text
    device = client.get("/api/v1/devices/D1").json()["data"]
    assert {name: device[name] for name in FIELDS} == FIELDS
    assert (device["location"], json.loads(device["metadata_json"])) == (None, json.loads(metadata))
    stale = browser.send("/machines/D1/edit", **FIELDS | {"device_name": "Late"}, version=version)
    assert (stale.status_code, "it has changed since you read it" in stale.text) == (412, True)
    wrong = browser.send("/machines/D1/edit", **FIELDS, metadata_json='{"idle_below_w": "x"}')
    assert (wrong.status_code, "idle_below_w" in wrong.text) == (422, True)


def test_a_machine_is_removed_and_its_history_stays(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1", 5)
    browser = Browser(client)
    assert "machines/D1/delete" in browser.page("/machines/D1/edit")
    removed = browser.send("/machines/D1/delete")
    assert (removed.status_code, removed.headers["HX-Redirect"]) == (204, "../../machines")
    assert client.get("/api/v1/devices").json()["total"] == 0
    assert client.get("/api/v1/data/telemetry/D1").json()["data"]["items"]
    assert "D1 is removed" in browser.page("/machines")
    assert "D1 is removed" not in browser.page("/machines")
    assert 'id="machine-D1"' not in browser.part("/machines")
    assert 'id="machine-D1"' in browser.part("/machines?status=removed")


def test_a_machine_that_was_removed_is_restored_on_its_page(client: TestClient) -> None:
    register(client, "D1")
    browser = Browser(client)
    browser.send("/machines/D1/delete")
    again = browser.send("/machines", device_id="D1")
    assert (again.status_code, "D1 was removed" in again.text, "machines/D1" in again.text) == (409, True, True)
    assert "machines/D1/restore" in browser.page("/machines/D1")
    assert browser.send("/machines/D1/restore").status_code == 204
    assert "D1 is restored." in browser.page("/machines/D1")
    assert client.get("/api/v1/devices").json()["total"] == 1


def test_an_id_that_differs_in_capitals_only_is_pointed_out(client: TestClient) -> None:
    register(client, "FEEDER-1")
    browser = Browser(client)
    assert browser.send("/machines", device_id="feeder-1").status_code == 204
    assert "FEEDER-1 differs from it in capitals only" in browser.page("/machines/feeder-1")


def test_failures_are_recorded_in_the_machines_zone_and_deleted(client: TestClient) -> None:
    register(client, "D1", metadata_json={"timezone": "Europe/Paris"})
    browser, path = Browser(client), "/machines/D1/analyses/failures"
    assert "Times are those of Europe/Paris" in browser.page("/machines/D1/analyses")
    fields = {"failed_at": "2026-07-01T08:30", "repaired_at": "2026-07-02T17:00", "description": "Bearing"}
    assert browser.send(path, **fields).status_code == 204
    (failure,) = client.get("/api/v1/devices/D1/failures").json()["data"]
    assert (failure["failed_at"], failure["repaired_at"]) == ("2026-07-01T06:30:00Z", "2026-07-02T15:00:00Z")
    shown = browser.page("/machines/D1/analyses")
    assert "The failure is recorded" in shown
    assert "Bearing" in shown
    # As it was typed, whatever the reader's zone is.
    assert re.search(r'data-time="time" data-zone="Europe/Paris"[^>]*>2026-07-01 08:30<', shown)
    for wrong, said in {
        "yesterday": "&#34;yesterday&#34; is not a time",
        "2199-01-01T00:00": "lies in the future",
        "0001-01-01T00:00": "is outside the years",
        "2026-03-29T02:30": "02:30 did not exist on that day in Europe/Paris",
        "": "is missing",
        fields["failed_at"]: "a failure at 2026-07-01 08:30 is recorded already",
    }.items():
        refused = browser.send(path, failed_at=wrong)
        assert refused.status_code in (409, 422), refused.text
        assert f"<p>Failed: {said}" in refused.text, refused.text
    assert browser.send(f"{path}/{failure['failure_id']}/delete").status_code == 204
    assert client.get("/api/v1/devices/D1/failures").json()["data"] == []


def test_who_may_only_read_does_not_change_a_machine(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    register(client, "D1", headers=key("admin"))
    browser = Browser(client, key("read"))
    assert "/edit" not in browser.page("/machines/D1")
    assert client.get("/machines/D1/edit", headers=HTML).status_code == 403
    assert browser.send("/machines/D1/edit", **FIELDS).status_code == 403


def test_an_alert_is_resolved_on_its_machines_page(client: TestClient, stores: Stores) -> None:
    rule = {"rule_name": "r", "scope": "all_devices", "property": "power", "condition": ">", "threshold": 1}
    client.post("/api/v1/rules", json=rule | {"severity": "high"})
    for device_id in ("D1", "D2"):
        register(client, device_id)
        reading = {"device_id": device_id, "timestamp": utc_now().isoformat(), "power": 5.0}
        client.post("/api/v1/rules/evaluate", json=reading)
    browser = Browser(client)
    shown = browser.page("/machines/D1/alerts")
    (alert_id,) = re.findall(r'name="alert_ids" value="([^"]+)"', shown)
    done = browser.send(
        "/machines/D1/alerts/change?status=all", alert_ids=alert_id, action="resolve", note="seen", name="Ann"
    )
    assert "1 alert changed" in done.text
    assert "machines/D1/alerts/change" in done.text
    alert = client.get(f"/api/v1/alerts/{alert_id}").json()["data"]
    assert (alert["device_id"], alert["status"], alert["resolution_note"]) == ("D1", "resolved", "seen")
    assert "There are no alerts" in browser.part("/machines/D1/alerts?status=open")


def test_a_machine_that_never_sent_is_not_called_live(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    shown = page(client, "/machines/D1")
    assert re.search(r"devices/D1/telemetry</code> of the broker at <code>[\w.]+:\d+<", shown)
    assert 'data-newest=""' in shown
    assert "badge-active" not in shown
    now = microseconds(utc_now())
    stores.telemetry.write([Reading(device_id="D1", time=now, metrics={"power": 1.0}, received_at=now)])
    assert "never seen" not in page(client, "/machines/D1")
    send(stores, "D1", 5)
    assert re.search(r'data-silent-after="180" data-newest="20', page(client, "/machines/D1"))


def test_datasets_come_newest_first_a_page_at_a_time(client: TestClient, stores: Stores) -> None:
    days = [DAY + timedelta(days=i) for i in range(3)]
    for i, day in enumerate(days):
        store(stores, reading(i * 1440))
        export_day(stores, "D1", day)
    stores.session.commit()
    pages = [page(client, f"/machines/D1/data?page_size=2&page={number}") for number in (1, 2)]
    shown = [re.findall(r"<td><span class=\"day\">(20\d\d-\d\d-\d\d)</span></td>", text) for text in pages]
    assert shown == [[str(days[2]), str(days[1])], [str(days[0])]]
    assert "of 3" in pages[0]
    (link,) = re.findall(r'href="([^"]*/dataset\?key=[^"]*)"', pages[1])
    led = client.get(urljoin("/machines/D1/data", link), follow_redirects=False)
    leads = urljoin("http://plant.example/energy/machines/D1/dataset", led.headers["location"])
    assert leads.startswith("http://plant.example/energy/api/v1/files/datasets/D1/")


def test_days_of_energy_are_those_of_the_machines_zone(client: TestClient, stores: Stores) -> None:
    register(client, "D1", metadata_json={"timezone": "Asia/Tokyo"})
    send(stores, "D1", 5)
    shown = page(client, "/machines/D1/energy?days=31")
    assert "those of Asia/Tokyo" in shown
    charts = {days: Browser(client).json(f"/machines/D1/energy-chart?days={days}") for days in (1, 31)}
    assert {days: (chart["interval"], chart["zone"]) for days, chart in charts.items()} == {
        1: ("15m", None),
        31: ("day", "Asia/Tokyo"),
    }
