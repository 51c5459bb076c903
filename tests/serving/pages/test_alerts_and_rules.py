"""The pages of alerts and rules."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from storage.notifications import Notification
from storage.stores import Stores
from storage.times import utc_now
from tests.serving.alerts.test_alerts import add_alert, add_rule
from tests.serving.pages.test_machines import register, send
from tests.support.browsing import Browser

Key = Callable[..., dict[str, str]]
HOSTILE = "<script>alert(1)</script>" + "W" * 50 + "\u202eمكبس"


def test_alerts_are_grouped_filtered_and_changed_in_bulk(client: TestClient, session: Session) -> None:
    browser, rule = Browser(client), add_rule(session, HOSTILE)
    first, second = (add_alert(session, rule, device_id=d, message=f"{HOSTILE} {d}") for d in ("D1", "D2"))
    done = add_alert(session, rule, status="resolved", severity="low")
    page = browser.page("/alerts")
    assert page.count("data-group") == 2
    assert str(done) not in page
    assert "<script>alert" not in page
    assert str(done) in browser.part("/alerts?status=all&severity=low")
    assert "There are no alerts" in browser.part("/alerts?status=acknowledged&severity=&device_id=")
    fields: dict[str, Any] = {
        "alert_ids": [str(first), str(second), str(done)],
        "note": "seen",
        "name": "Ann",
        "action": "acknowledge",
    }
    changed = browser.send("/alerts/change?status=open", **fields)
    assert changed.status_code == 200
    assert "2 alerts changed" in changed.text
    assert "already resolved and cannot be acknowledged" in changed.text
    seen = client.get("/api/v1/alerts?status=acknowledged").json()["data"]
    assert {(a["acknowledged_by"], a["acknowledgement_note"]) for a in seen} == {("Ann", "seen")}
    nobody = browser.send("/alerts/change", action="resolve")
    assert (nobody.status_code, nobody.headers["HX-Retarget"]) == (422, "#notice")
    assert "no alert is chosen" in nobody.text


def test_one_alert_shows_what_it_rests_on(client: TestClient, session: Session, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1", temperature=80.0)
    browser, rule = Browser(client), add_rule(session)
    at = utc_now().replace(second=0, microsecond=0) - timedelta(minutes=5)
    alert_id = add_alert(session, rule, reading_time=at)
    session.add(Notification(alert_id=alert_id, device_id="D1", channel="email", status="failed"))
    session.commit()
    page = browser.page(f"/alerts/{alert_id}")
    assert "80.0\N{NO-BREAK SPACE}°C" in page or "80\N{NO-BREAK SPACE}°C" in page
    assert "email" in page
    (chart,) = re.findall(r'data-chart="\.\./([^"]+)"', page)
    drawn = browser.json("/" + chart.replace("&amp;", "&"))
    assert [line["value"] for line in drawn["lines"]] == [75]
    assert [span["kind"] for span in drawn["spans"]] == ["alert"]
    resolved = browser.send(f"/alerts/{alert_id}/change", alert_ids=str(alert_id), action="resolve", note="new fan")
    assert "new fan" in resolved.text
    assert "<form" not in resolved.text


def test_who_may_only_read_sees_no_button_that_would_be_refused(client: TestClient, session: Session, key: Key) -> None:
    rule = add_rule(session)
    alert_id = add_alert(session, rule)
    reader = key("read")
    browser = Browser(client, reader)
    for path in ("/alerts", f"/alerts/{alert_id}", "/rules", f"/rules/{rule.rule_id}", "/analytics", "/reports",
                 "/reports/schedules", "/data", "/data/quarantine", "/data/exports", "/settings"):  # fmt: skip
        page = browser.page(path)
        posts = set(re.findall(r'(?:method="post" action|hx-post)="(?:\.\./|\./)*([^"]*)"', page))
        assert posts == {"logout"}, path
    browser.page("/rules/new", 403)
    refused = browser.send("/alerts/change", alert_ids=str(alert_id), action="resolve")
    assert refused.status_code == 403
    assert "this needs the role operate" in refused.text


def test_two_tenants_see_their_own(client: TestClient, session: Session, key: Key) -> None:
    for tenant in ("acme", "other"):
        add_alert(session, add_rule(session, f"rule of {tenant}", tenant), message=f"alert of {tenant}")
    browser = Browser(client, key("admin", "acme"))
    for path in ("/alerts?status=all", "/rules"):
        page = browser.page(path)
        assert "of acme" in page
        assert "of other" not in page
    page = browser.page("/settings")
    assert "What is kept" not in page
    assert "admin of acme" in page


@pytest.mark.parametrize(
    "path",
    ["/alerts/change", "/rules", "/rules/preview", "/analytics", "/reports", "/reports/schedules", "/data/exports",
     "/data/quarantine/replay", "/settings/keys", "/settings/channels/email/test"],
)  # fmt: skip
def test_no_form_is_taken_without_its_token(client: TestClient, key: Key, path: str) -> None:
    browser = Browser(client, key("admin"))
    refused = browser.send(path, token="0" * 64)
    assert refused.status_code == 403
    assert "the page is of another session" in refused.text


FIELDS: dict[str, Any] = {
    "rule_name": "Hot", "scope": "selected_devices", "device_ids": "D1\nD2", "property": "temperature",
    "condition": ">", "threshold": "75", "for_seconds": "0", "severity": "high", "status": "active",
    "cooldown_minutes": "",
}  # fmt: skip


def test_a_rule_is_previewed_created_and_changed(client: TestClient, stores: Stores) -> None:
    for device_id, temperature in (("D1", 80.0), ("D2", 60.0)):
        register(client, device_id)
        send(stores, device_id, temperature=temperature)
    browser = Browser(client)
    assert 'hx-trigger="load, rule-changed"' in browser.page("/rules/new?device_id=D1")
    preview = browser.send("/rules/preview", of="/rules/new", **FIELDS).text
    assert re.search(r"<strong>\d+ alerts?</strong> on 1 of 2 machines", preview)
    (chart,) = re.findall(r'data-chart="([^"]+)"', preview)
    drawn = browser.json("/rules/preview/" + chart.rpartition("/")[2].replace("&amp;", "&"))
    assert drawn["spans"]
    assert [line["value"] for line in drawn["lines"]] == [75]
    higher = browser.send("/rules/preview", of="/rules/new", **FIELDS | {"threshold": "90"}).text
    assert "<strong>0 alerts</strong>" in higher
    missing = browser.send("/rules/preview", of="/rules/new", **FIELDS | {"threshold": ""}).text
    assert "threshold" in missing
    wrong = browser.send("/rules", of="/rules/new", **FIELDS | {"threshold": "hot"})
    assert wrong.status_code == 422
    assert "Threshold: &#34;hot&#34; is not a number" in wrong.text
    assert browser.send("/rules", of="/rules/new", **FIELDS | {"threshold": "7,500"}).status_code == 422
    created = browser.send(
        "/rules", of="/rules/new", days=["0", "1"], **{"from": "06:00", "to": "18:00"},
        notification_channels="email", **FIELDS,
    )  # fmt: skip
    assert created.status_code == 204
    (rule,) = client.get("/api/v1/rules").json()["data"]
    assert created.headers["HX-Redirect"].endswith(f"rules/{rule['rule_id']}")
    assert rule["device_ids"] == ["D1", "D2"]
    assert rule["active_hours"] == {"days": [0, 1], "from": "06:00", "to": "18:00"}
    page = browser.page(f"/rules/{rule['rule_id']}")
    assert 'value="75"' in page
    saved = browser.send(f"/rules/{rule['rule_id']}", of="/rules/new", **FIELDS | {"threshold": "76,5"})
    assert "The rule is saved" in saved.text
    assert "not registered" not in saved.text
    (rule,) = client.get("/api/v1/rules").json()["data"]
    assert (rule["threshold"], rule["cooldown_minutes"], rule["active_hours"]) == (76.5, 15, None)
    page = browser.page(f"/rules/{rule['rule_id']}")
    version = re.findall(r'name="version" value="([^"]+)"', page)[0].replace("&#34;", '"')
    first, second = (
        browser.send(f"/rules/{rule['rule_id']}", of="/rules/new", version=version, **FIELDS | {"threshold": threshold})
        for threshold in ("77", "78")
    )
    assert (first.status_code, second.status_code) == (200, 412)
    assert "it has changed since you read it" in second.text
    assert client.get("/api/v1/rules").json()["data"][0]["threshold"] == 77
    mistyped = browser.send(f"/rules/{rule['rule_id']}", of="/rules/new", **FIELDS | {"device_ids": "D1 NOPE"}).text
    assert "Machines: NOPE: not registered" in mistyped
    assert "Machines: NOPE: not registered" in browser.page(f"/rules/{rule['rule_id']}")


def test_what_becomes_part_of_a_page_knows_the_pages_way(client: TestClient) -> None:
    """Under a prefix that a proxy takes away, too: the form on /energy/rules/new is sent to /energy/rules."""
    register(client, "D1")
    browser = Browser(client)
    fields = FIELDS | {"device_ids": "D1"}
    assert '"X-Page-Root": "../"' in browser.page("/rules/new")
    created = browser.send("/rules", of="/rules/new", fields=fields, root="../")
    assert created.headers["HX-Redirect"].startswith("../rules/")
    part = browser.send("/rules/preview", of="/rules/new", fields=fields, root="../../").text
    assert 'data-chart="../../rules/preview/chart' in part
    odd = browser.send("/rules/preview", of="/rules/new", fields=fields, root="https://evil.example/").text
    assert "evil" not in odd


def test_a_rule_is_paused_archived_and_deleted(client: TestClient, session: Session) -> None:
    rule = add_rule(session, HOSTILE)
    add_alert(session, rule)
    browser, path = Browser(client), f"/rules/{rule.rule_id}"
    page = browser.page("/rules")
    assert "Alerts a day: 0, " in page
    assert "<script>alert" not in page
    assert "Resume" in browser.send(f"{path}/status", status="paused").text
    browser.send(f"{path}/status", status="archived")
    assert "There are no rules" in browser.part("/rules")
    assert "archived" in browser.part("/rules?status=archived")
    deleted = browser.send(f"{path}/delete", of=path)
    assert deleted.headers["HX-Redirect"].endswith("rules")
    browser.page(path, 404)
    no_data: dict[str, Any] = FIELDS | {"condition": "no_data", "threshold": "10", "scope": "all_devices"}
    assert "no_data rule has no preview" in browser.send("/rules/preview", of="/rules/new", **no_data).text
    assert browser.send("/rules", of="/rules/new", **no_data).status_code == 204
    (rule_now,) = client.get("/api/v1/rules").json()["data"]
    assert (rule_now["property"], rule_now["threshold"]) == ("telemetry", 10)
