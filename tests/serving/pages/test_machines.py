"""The pages of home and machines, with what they show of a plant."""

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient

from serving.pages import home, intake_rate
from storage import dirty_days
from storage.device_metrics import add_metrics
from storage.last_seen import save_last_seen
from storage.settings import Settings
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import HOUR, MINUTE, microseconds, moment, utc_now

HTML = {"Accept": "text/html"}
PART = HTML | {"HX-Request": "true"}
SAME_SITE = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
TABS = ("", "/telemetry", "/rules", "/alerts", "/energy", "/analyses", "/data")
PARTS = ("machines", "alerts", "energy", "intake", "analyses", "changes?since=2026-01-01T00:00:00Z", "arrived")
SCRIPT = "<script>alert(1)</script>"
ENDLESS = "W" * 50
RIGHT_TO_LEFT = "مكبس \u202e123"


def send(stores: Stores, device_id: str, minutes: int = 180, **metrics: float) -> None:
    """Readings of the last minutes, one a minute, as ingestion keeps them."""
    now = microseconds(utc_now()) // MINUTE * MINUTE
    times = [now - i * MINUTE for i in range(minutes)]
    values = metrics or {"power": 1000.0}
    stores.telemetry.write([Reading(device_id=device_id, time=t, metrics=dict(values), received_at=t) for t in times])
    dirty_days.mark_dirty(stores.session, [(device_id, t) for t in times])
    add_metrics(stores.session, {device_id: values}, 256)
    save_last_seen(stores.session, {device_id: 0}, {device_id: now})
    stores.session.commit()


def register(
    client: TestClient, device_id: str, name: str = "Press", headers: dict[str, str] | None = None, **fields: object
) -> None:
    body = {"device_id": device_id, "device_name": name, "device_type": "press", **fields}
    assert client.post("/api/v1/devices", json=body, headers=headers).status_code == 201


def page(client: TestClient, path: str, headers: dict[str, str] = HTML) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    text: str = answer.text
    return text


def test_the_first_start_shows_how_to_send_a_reading(client: TestClient, stores: Stores) -> None:
    start = page(client, "/")
    assert "-p 1883" in start or re.search(r"mosquitto_pub -h 127\.0\.0\.1 -p \d+", start)
    assert "devices/PRESS-1/telemetry" in start
    assert "HX-Refresh" not in client.get("/home/arrived", headers=PART).headers
    send(stores, "PRESS-1")
    assert client.get("/home/arrived", headers=PART).headers["HX-Refresh"] == "true"
    assert "sends without being registered" in page(client, "/")


def test_an_unregistered_sender_is_registered_with_one_click(client: TestClient, stores: Stores) -> None:
    send(stores, "PRESS-1")
    shown = page(client, "/machines")
    assert "Sending, but not registered" in shown
    token = re.search(r'name="csrf_token" value="(\w+)"', shown)
    assert token
    form = {"device_id": "PRESS-1", "csrf_token": token[1]}
    assert client.post("/machines", data={"device_id": "PRESS-1"}, headers=SAME_SITE).status_code == 403
    done = client.post("/machines", data=form, headers=SAME_SITE, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "./machines/PRESS-1")
    assert client.get("/api/v1/devices/PRESS-1").json()["data"]["device_name"] == "PRESS-1"
    again = client.post("/machines", data=form, headers=SAME_SITE | PART)
    assert again.status_code == 409
    assert "already registered" in again.text
    assert again.headers["HX-Retarget"] == "#notice"


@pytest.mark.parametrize("name", [SCRIPT, ENDLESS, RIGHT_TO_LEFT])
def test_every_page_of_a_machine_with_an_odd_name(client: TestClient, stores: Stores, name: str) -> None:
    register(client, "D1", name, location=name, manufacturer=name, metadata_json={"bands": {"power": [0, 500]}})
    send(stores, "D1", power=1000.0, voltage=230.0, m_1=3.0)
    rule = {
        "rule_name": name,
        "scope": "all_devices",
        "property": "power",
        "condition": ">",
        "threshold": 1,
        "severity": "high",
    }
    assert client.post("/api/v1/rules", json=rule).status_code == 201
    reading = {"device_id": "D1", "timestamp": utc_now().isoformat(), "power": 5.0}
    assert client.post("/api/v1/rules/evaluate", json=reading).json()["data"]["triggered"] == 1
    paths = ["/", "/machines", "/machines?view=table", *(f"/machines/D1{tab}" for tab in TABS)]
    parts = ["/machines-figures", "/machines?search=D", "/machines/D1", *(f"/home/{part}" for part in PARTS[:-1])]
    for path, headers in [*((path, HTML) for path in paths), *((path, PART) for path in parts)]:
        text = page(client, path, headers)
        assert "<script>alert" not in text
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//(?!127\.0\.0\.1)', text)
        assert not re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", text), path


def test_values_outside_their_band_are_marked(client: TestClient, stores: Stores) -> None:
    register(client, "D1", metadata_json={"bands": {"power": [0, 500]}, "idle_below_w": 100, "off_below_w": 5})
    send(stores, "D1", power=1000.0)
    shown = page(client, "/machines/D1")
    assert 'class="value-of out"' in shown
    assert "nominal 0\N{EN DASH}500\N{NO-BREAK SPACE}W" in shown
    assert re.search(r"running \d", page(client, "/machines/D1", PART))


def test_the_worst_machine_comes_first(client: TestClient, stores: Stores) -> None:
    for name in ("A", "B", "C"):
        register(client, name, name)
        send(stores, name, 5)
    rule = {
        "rule_name": "r",
        "scope": "selected_devices",
        "device_ids": ["C"],
        "property": "power",
        "condition": ">",
        "threshold": 1,
        "severity": "critical",
    }
    client.post("/api/v1/rules", json=rule)
    client.post("/api/v1/rules/evaluate", json={"device_id": "C", "timestamp": utc_now().isoformat(), "power": 5.0})
    save_last_seen(stores.session, {"B": 0}, {"B": 0})
    stores.session.commit()
    shown = page(client, "/machines")
    assert re.findall(r'id="machine-(\w)"', shown)[0] == "C"
    by_name = page(client, "/machines?sort=-device_name&view=table")
    assert re.findall(r'id="machine-(\w)"', by_name) == ["C", "B", "A"]
    assert re.findall(r'id="machine-(\w)"', page(client, "/machines?page_size=1&page=2&sort=device_id")) == ["B"]
    assert "No machine matches" in page(client, "/machines?search=nothing")


def test_a_chart_has_the_extremes_of_its_windows_and_open_gaps(client: TestClient, stores: Stores) -> None:
    register(client, "D1", metadata_json={"bands": {"power": [0, 500]}})
    now = microseconds(utc_now()) // MINUTE * MINUTE
    times = [now - i * 1_000_000 for i in (*range(600), *range(3000, 3600))]
    stores.telemetry.write(
        [Reading(device_id="D1", time=t, metrics={"power": float(i % 10)}, received_at=t) for i, t in enumerate(times)]
    )
    query = {"metric": "power", "width": "60", "start_time": moment(now - HOUR).isoformat()}
    chart = client.get("/machines/D1/telemetry-chart", params=query, headers={"Accept": "application/json"}).json()
    (series,) = chart["series"]
    known = [i for i, value in enumerate(series["values"]) if value is not None]
    assert (series["low"][known[3]], series["high"][known[3]]) == (0.0, 9.0)
    assert None in series["values"]
    assert [line["value"] for line in chart["lines"]] == [0, 500]
    csv = client.get("/machines/D1/telemetry.csv?metric=power&width=60")
    assert csv.headers["content-type"].startswith("text/csv")
    assert csv.text.startswith('"timestamp","power_min","power_mean","power_max"')
    wrong = client.get("/machines/D1/telemetry-chart?metric=Power", headers={"Accept": "application/json"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "metric")


def test_who_may_only_read_sees_no_button_and_a_tenant_its_own(
    client: TestClient, stores: Stores, key: Callable[..., dict[str, str]]
) -> None:
    admin, reader, other = key("admin"), key("read", "acme"), key("operate", "other")
    register(client, "D1", "Acme's press", headers=admin, tenant_id="acme")
    send(stores, "D1")
    assert "Acme&#39;s press" in page(client, "/machines", HTML | reader)
    for tab in TABS:
        text = page(client, f"/machines/D1{tab}", HTML | reader)
        assert not re.findall(r'method="post"(?! action="[./]*logout)', text), tab
        assert client.get(f"/machines/D1{tab}", headers=HTML | other).status_code == 404
    for path in ("/", "/machines", "/machines-figures", *(f"/home/{part}" for part in PARTS)):
        assert "press" not in client.get(path, headers=PART | other).text
    refused = client.post("/machines", data={"device_id": "D2"}, headers=SAME_SITE | reader)
    assert refused.status_code == 403


@pytest.mark.parametrize("view", ["cards", "table"])
def test_a_machine_that_feeds_in_shows_what_it_fed_in_today(
    client: TestClient, stores: Stores, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    # The site's day is long enough also in the minutes after midnight.
    zone = ZoneInfo(f"Etc/GMT{'+' if utc_now().hour > 12 else '-'}11")
    monkeypatch.setattr(Settings, "zone", property(lambda _: zone))
    register(client, "D1", metadata_json={"exports": True})
    send(stores, "D1", 5, power=-1000.0)
    shown = page(client, f"/machines-figures?view={view}", PART)
    assert re.search(r"[>\s]\d[\d.]*\N{NO-BREAK SPACE}Wh fed in", shown)
    assert "0\N{NO-BREAK SPACE}kWh" not in shown


def test_a_finding_is_settled_on_the_page(client: TestClient, stores: Stores) -> None:
    register(client, "D1", metadata_json={"counters": {"kwh": {"unit": "kWh"}}, "timezone": "UTC"})
    now = microseconds(utc_now()) // MINUTE * MINUTE
    values = [100.0 + i * 0.01 for i in range(300)]
    values[100] = 0.0
    times = [now - (300 - i) * MINUTE for i in range(300)]
    stores.telemetry.write(
        [Reading(device_id="D1", time=t, metrics={"kwh": v}, received_at=t) for t, v in zip(times, values, strict=True)]
    )
    dirty_days.mark_dirty(stores.session, [("D1", t) for t in times])
    stores.session.commit()
    shown = page(client, "/machines/D1/energy?days=3")
    form = dict(re.findall(r'<input type="hidden" name="(csrf_token|metric|from|to)" value="([^"]*)"', shown))
    assert form.get("metric") == "kwh", shown
    ahead = client.post("/machines/D1/corrections/preview", data=form, headers=SAME_SITE | PART)
    assert (ahead.status_code, ahead.text.count("<dt>")) == (200, 2), ahead.text
    assert "Wh instead of " in ahead.text
    sent = form | {"action": "exclude", "reason": "a bus hiccup"}
    done = client.post("/machines/D1/corrections", data=sent, headers=SAME_SITE, follow_redirects=False)
    assert done.status_code == 303, done.text
    shown = page(client, "/machines/D1/energy?days=3")
    assert "a bus hiccup" in shown
    assert "It is left out. " in shown
    (undo,) = re.findall(r'action="\.\./\.\.(/machines/D1/corrections/\d+/undo\?days=3)"', shown)
    again = client.post(undo, data=form, headers=SAME_SITE, follow_redirects=False)
    assert again.status_code == 303, again.text
    assert "The correction is undone. " in page(client, "/machines/D1/energy?days=3")
    blank = client.post(
        "/machines/D1/corrections", data=form | {"action": "exclude", "reason": " "}, headers=SAME_SITE | PART
    )
    assert (blank.status_code, "Reason: " in blank.text) == (422, True)


class _Metrics(BaseHTTPRequestHandler):
    received = 100

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"energy_ingest_received_total {float(self.received)}\n".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_rate_of_intake_is_that_between_two_looks(
    client: TestClient, settings: Settings, key: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "FRESH", 0)
    assert "readings a second" not in page(client, "/home/intake", PART)
    with ThreadingHTTPServer(("127.0.0.1", settings.ingest_metrics_port), _Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert "readings a second" not in page(client, "/home/intake", PART)
        monkeypatch.setattr(intake_rate, "LEAST_SECONDS", 0.0)
        assert re.search(r"<dt>readings a second</dt><dd>0</dd>", page(client, "/home/intake", PART))
        tenant = key("read", "acme")
        assert "readings a second" not in page(client, "/home/intake", PART | tenant)
        server.shutdown()
