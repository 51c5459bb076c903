"""Pages answer what browsers ask wrongly, by whom it is asked, and without states that are not true."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.pages.display import days, duration, metric, sparkline
from serving.pages.wording import in_pages
from storage.stores import Stores
from storage.times import utc_now
from tests.serving.pages.test_analytics_and_reports import EVENT, add_job
from tests.serving.pages.test_machines import HTML, PART, SAME_SITE, page, register, send
from tests.support.browsing import Browser


def test_a_page_of_a_list_that_does_not_exist_leads_to_the_last_one(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1", 5)
    rule = {"rule_name": "r", "scope": "all_devices", "property": "power", "condition": ">", "threshold": 1}
    client.post("/api/v1/rules", json=rule | {"severity": "low"})
    client.post("/api/v1/rules/evaluate", json={"device_id": "D1", "timestamp": utc_now().isoformat(), "power": 5.0})
    for path in ("machines", "alerts", "rules", "data", "machines/D1/alerts", "machines/D1/rules"):
        shown = page(client, f"/{path}?page=9999")
        assert "This list has 1 page, and no page 9\N{NARROW NO-BREAK SPACE}999." in shown, path
        assert re.search(r"page=1[&\"][^>]*>Show the last page", shown), path
        assert 'class="empty"' not in shown, path


def test_a_wrong_parameter_of_a_page_counts_as_left_out(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1", 5)
    led = client.get("/machines/D1/telemetry?span=9y&metric=power", headers=HTML, follow_redirects=False)
    assert (led.status_code, led.headers["location"]) == (303, "../../machines/D1/telemetry?metric=power")
    assert client.get("/machines?page=0&sort=nothing", headers=HTML).status_code == 200
    assert client.get("/machines?page=0", headers=PART).status_code == 422


def test_a_lost_browser_sees_who_is_signed_in(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    Browser(client, key("read", name="Ann"))
    for path in ("/machines/nobody", "/machinery/deep"):
        lost = client.get(path, headers=HTML)
        assert lost.status_code == 404
        assert "Sign out" in lost.text, path


def test_who_may_not_open_dagster_sees_no_way_there(
    client: TestClient, stores: Stores, key: Callable[..., dict[str, str]]
) -> None:
    admin = key("admin")
    register(client, "D1", headers=admin, tenant_id="acme")
    send(stores, "D1", 5)
    job = add_job(stores.session, "anomaly", tenant_id="acme", status="completed", completed_at=utc_now(),
                  results={"events": [EVENT], "summary": {"rows": 1}, "warning": None})  # fmt: skip
    paths = ("machines/D1/data", "machines/D1/analyses", f"analytics/{job}", "data", "data/late")
    for who in (key("read"), key("operate", "acme"), key("read", "acme")):
        browser = Browser(client, who)
        for path in paths:
            assert "Dagster" not in browser.page(f"/{path}"), path
    Browser(client, key("read", name="another"))
    assert "Run an analysis" not in page(client, "/machines/D1/analyses")
    assert "Dagster" in Browser(client, key("operate")).page("/machines/D1/data")


def test_all_links_lead_to_dagster_where_browsers_find_it(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1", 5)
    job = add_job(stores.session, "anomaly", status="completed", completed_at=utc_now(),
                  results={"events": [EVENT], "summary": {"rows": 1}, "warning": None})  # fmt: skip
    state: Any = client.app.state  # type: ignore[attr-defined] # Starlette types the app as any ASGI app
    state.api_settings = state.api_settings.model_copy(update={"dagster_public_url": "https://dagster.example/"})
    for path in ("machines/D1/data", f"analytics/{job}", "data"):
        shown = page(client, f"/{path}")
        assert "https://dagster.example/assets" in shown, path
        assert ":3000/" not in shown, path


def test_the_answer_to_a_sign_in_is_not_stored(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    secret = key("read")["X-API-Key"]
    token = re.search(r'name="csrf_token" value="(\w+)"', client.get("/login", headers=HTML).text)
    assert token
    for sent in ("ek_wrong", secret):
        answer = client.post(
            "/login", data={"key": sent, "csrf_token": token[1]}, headers=SAME_SITE, follow_redirects=False
        )
        assert answer.headers["cache-control"] == "no-store"


def test_a_known_id_leads_to_its_machine(client: TestClient) -> None:
    register(client, "D1")
    answer = Browser(client).send("/machines", device_id="D1")
    assert answer.status_code == 409
    assert 'href="machines/D1"' in answer.text or 'machines/D1">Show the machine' in answer.text
    assert "/api/v1" not in answer.text


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        (datetime(2026, 11, 30, tzinfo=UTC), ["2026-11-24", "2026-11-29"]),
        (datetime(2026, 11, 25, tzinfo=UTC), ["2026-11-24"]),
    ],
)
def test_the_last_day_of_a_range_is_included(end: datetime, shown: list[str]) -> None:
    assert re.findall(r">([\d-]+)<", days(datetime(2026, 11, 24, tzinfo=UTC), end)) == shown
    paris = timezone(timedelta(hours=1))
    local = days(datetime(2026, 11, 24, tzinfo=paris), datetime(2026, 11, 30, tzinfo=paris))
    assert local.count('data-time="day"') == 2


def test_an_error_names_pages_instead_of_routes(client: TestClient) -> None:
    lost = client.get("/machines/nobody/edit", headers=HTML).text
    assert 'there is no device nobody; <a href="../../machines">Machines</a> registers one' in lost
    assert str(in_pages("a <b>; POST /api/v1/devices/D1/restore brings it back", "./")).startswith("a &lt;b&gt;; POST")


def test_figures_have_the_digits_that_they_need() -> None:
    blank = "\N{NO-BREAK SPACE}"
    assert metric(253.2, "voltage", 253.0) == f"253.2{blank}V"
    assert metric(253.2, "voltage") == metric(253.2, "voltage", 100.0) == f"253{blank}V"
    assert metric(253.0, "voltage", 253.0) == f"253{blank}V"
    assert metric(824.0, "reactive_power") == f"824{blank}var"
    assert duration(23 * 3600 + 55 * 60) == f"24{blank}h"


def test_a_course_that_differs_by_noise_alone_is_flat() -> None:
    assert 'd="M0.0 15.0h0L50.0 15.0L100.0 15.0"' in sparkline([1000.0, 1000.0000000001, 999.9999999999], "power")
    assert 'd="M0.0 15.0h0L50.0 15.0L100.0 15.0"' not in sparkline([1000.0, 1001.0, 1000.0], "power")


def test_an_event_is_judged_on_the_machines_page(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1", 5)
    job = add_job(stores.session, "anomaly", status="completed", completed_at=utc_now(),
                  results={"events": [EVENT], "summary": {"rows": 1}, "warning": None})  # fmt: skip
    browser = Browser(client)
    assert f'analytics/{job}/events/1/feedback"' in browser.page("/machines/D1/analyses")
    assert browser.send(f"/analytics/{job}/events/1/feedback", verdict="fault").status_code == 200
    assert "was a fault" in browser.page("/machines/D1/analyses")
