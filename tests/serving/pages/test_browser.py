"""The pages in a real browser: what people see, hear and do."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from storage.settings import Settings
from storage.times import utc_now
from tests.serving.pages.conftest import SIZES, OpenPage
from tests.serving.pages.test_machines import ENDLESS, RIGHT_TO_LEFT, SCRIPT, TABS
from tests.support.running import BROKERS, Ingester, device, ingesting, serving
from tests.support.servers import wait_until

pytestmark = pytest.mark.slow

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
# PAGES_PICTURES keeps the pictures of the pages in a folder, to be looked at.
PICTURES = os.environ.get("PAGES_PICTURES")


@pytest.fixture
def plant(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, Ingester]]:
    """A platform that takes readings, with a machine whose name is odd in every way."""
    monkeypatch.setenv("API_RATE_LIMIT", "0")
    with BROKERS["nats"](settings), ingesting(settings) as ingester, serving(settings), device(settings) as machine:
        name = f"{SCRIPT} {RIGHT_TO_LEFT} {ENDLESS}"
        metadata = {"bands": {"power": [0, 500]}, "idle_below_w": 100, "off_below_w": 5}
        body = {
            "device_id": "D1",
            "device_name": name,
            "device_type": ENDLESS * 2,
            "location": ENDLESS,
            "metadata_json": metadata,
        }
        httpx.post(f"{address(settings)}/api/v1/devices", json=body).raise_for_status()
        rule = {
            "rule_name": name,
            "scope": "all_devices",
            "property": "power",
            "condition": ">",
            "threshold": 600,
            "severity": "high",
        }
        httpx.post(f"{address(settings)}/api/v1/rules", json=rule).raise_for_status()
        wait_until(
            lambda: ingester.registry.rules and ingester.registry.profile("D1").enrichment_status == "success",
            "it is known",
        )
        for power in (100.0, 650.0, 200.0):
            machine.send("D1", reading(power))
        machine.send("D2", reading(1.0))
        wait_until(lambda: ingester.metrics.stored == 4, "the readings are stored")
        yield settings, ingester


def address(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.api_port}"


def reading(power: float) -> dict[str, Any]:
    return {"timestamp": utc_now().isoformat(), "power": power, "voltage": 230.0}


def settled(page: Page) -> Page:
    page.wait_for_load_state("networkidle")
    return page


def check_accessible(page: Page) -> None:
    found = Axe().run(page, options=RULES)
    assert not found.violations_count, f"{page.url}\n{found.generate_report()}"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_accessible_and_fits_every_screen(
    plant: tuple[Settings, Ingester], open_page: OpenPage, theme: str
) -> None:
    settings, _ = plant
    page = settled(open_page(address(settings), theme=theme))
    paths = [
        "/",
        "/login",
        "/machines",
        "/machines?view=table",
        *(f"/machines/D1{tab}" for tab in TABS),
        "/machines/D1/edit",
        "/machines/D2",
    ]
    for path in paths:
        settled(page).goto(address(settings) + path)
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            settled(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                f"{path} is too wide for a {size}"
            )
            if size == "desktop":
                check_accessible(page)
            if PICTURES:
                name = path.strip("/").replace("/", "-").replace("?", "-") or "home"
                page.screenshot(path=Path(PICTURES) / f"{name}-{size}-{theme}.png", full_page=True, caret="initial")


def test_values_follow_the_machine_and_a_lost_connection_heals(
    settings: Settings, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_RATE_LIMIT", "0")
    with BROKERS["nats"](settings), ingesting(settings) as ingester, device(settings) as machine:
        with serving(settings):
            machine.send("D1", reading(100.0))
            wait_until(lambda: ingester.metrics.stored == 1, "the reading is stored")
            page = settled(open_page(f"{address(settings)}/machines/D1"))
            power = page.locator('[data-metric="power"] [data-value]')
            expect(power).to_have_text("100\N{NO-BREAK SPACE}W")
            stream = page.locator("[data-stream]")
            expect(stream).to_have_text("live")
            for event, said in (("lost", "not live: the platform does not answer"), ("back", "live")):
                page.evaluate(f"document.dispatchEvent(new CustomEvent('energy:{event}'))")
                expect(stream).to_have_text(said)
            wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
            machine.send("D1", reading(1234.0))
            expect(power).to_have_text("1.23\N{NO-BREAK SPACE}kW")
        expect(page.locator("[data-stream]")).to_have_text("not live; connecting again …")
        page.evaluate("htmx.trigger('#now', 'energy:refresh')")
        expect(page.locator("#connection")).to_be_visible()
        with serving(settings):
            expect(page.locator("#connection")).to_be_hidden(timeout=20_000)
            expect(page.locator("[data-stream]")).to_have_text("live", timeout=40_000)


def test_a_chart_is_read_with_the_keyboard_and_as_a_table(
    plant: tuple[Settings, Ingester], open_page: OpenPage
) -> None:
    settings, _ = plant
    page = settled(open_page(f"{address(settings)}/machines/D1/telemetry?metric=power&span=1h"))
    chart = page.locator("figure[data-chart]")
    expect(chart.locator("canvas")).to_be_visible()
    chart.focus()
    page.keyboard.press("Home")
    expect(chart.locator("[data-reading]")).to_contain_text("power 317")
    before = chart.get_attribute("data-chart")
    with page.expect_response("**/telemetry-chart**"):
        page.keyboard.press("+")
    assert before == chart.get_attribute("data-chart")
    assert "start_time" in page.url
    chart.locator("summary").click()
    expect(chart.locator("tbody tr").first).to_be_visible()
    assert "start_time" in (page.locator("[data-csv]").get_attribute("href") or "")


def test_a_sender_is_registered_by_keyboard_alone(plant: tuple[Settings, Ingester], open_page: OpenPage) -> None:
    settings, _ = plant
    page = settled(open_page(f"{address(settings)}/machines"))
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Register D2")
    for _ in range(10):
        page.keyboard.press("Tab")
        if button.evaluate("element => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/machines/D2")
    assert httpx.get(f"{address(settings)}/api/v1/devices/D2").is_success


def test_machines_are_searched_sorted_and_paged(plant: tuple[Settings, Ingester], open_page: OpenPage) -> None:
    settings, _ = plant
    rows = [{"device_id": f"M{i:03}", "device_name": f"Mill {i:03}", "device_type": "mill"} for i in range(60)]
    httpx.post(f"{address(settings)}/api/v1/devices/bulk", json={"devices": rows}).raise_for_status()
    page = settled(open_page(f"{address(settings)}/machines?view=table"))
    page.get_by_label("Search").fill("mill 00")
    expect(page.locator("#list tbody tr")).to_have_count(10)
    page.get_by_role("link", name="Name").click()
    expect(page.locator("#list tbody tr").first).to_contain_text("Mill 000")
    page.get_by_label("Search").fill("")
    expect(page.get_by_text("1–24 of 61")).to_be_visible()  # noqa: RUF001 - as it is written
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("25–48 of 61")).to_be_visible()  # noqa: RUF001 - as it is written
    assert "page=2" in page.url
    page.go_back()
    expect(page.get_by_text("1–24 of 61")).to_be_visible()  # noqa: RUF001 - as it is written


def test_two_tenants_sign_in_and_see_their_own(
    plant: tuple[Settings, Ingester], open_page: OpenPage, key: Callable[..., dict[str, str]]
) -> None:
    settings, _ = plant
    admin = key("admin")
    for tenant in ("acme", "other"):
        body = {
            "device_id": f"{tenant}-1",
            "device_name": f"{tenant} press",
            "device_type": "press",
            "tenant_id": tenant,
        }
        httpx.post(f"{address(settings)}/api/v1/devices", json=body, headers=admin).raise_for_status()
    for tenant, role in (("acme", "read"), ("other", "operate")):
        page = settled(open_page(f"{address(settings)}/machines?search=press"))
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.get_by_label("API key").fill(key(role, tenant)["X-API-Key"])
        page.keyboard.press("Enter")
        page.wait_for_url("**/machines?search=press")
        expect(page.locator(".machine")).to_have_count(1)
        expect(page.locator(".machine")).to_contain_text(f"{tenant} press")
        expect(page.get_by_text("Register a machine")).to_have_count(1 if role == "operate" else 0)
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")


def test_the_first_page_on_a_wall_needs_no_hand(
    settings: Settings, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, key: Callable[..., dict[str, str]]
) -> None:
    monkeypatch.setenv("API_RATE_LIMIT", "0")
    secret = key("read")["X-API-Key"]
    admin = key("admin")
    with serving(settings):
        rows = [{"device_id": f"M{i:03}", "device_name": f"Mill {i:03}", "device_type": "mill"} for i in range(50)]
        body = {"devices": rows}
        httpx.post(f"{address(settings)}/api/v1/devices/bulk", json=body, headers=admin).raise_for_status()
        session = httpx.post(f"{address(settings)}/api/v1/session", json={"key": secret}).cookies["energy_session"]
        page = settled(open_page(address(settings), size="wall", energy_session=session))
        expect(page.locator("#worst li")).to_have_count(12)
        page.get_by_role("button", name="Full screen").click()
        expect(page.locator("header.top")).to_be_hidden()
        expect(page.locator("#worst li")).to_have_count(40)
        assert page.url.endswith("/?wall=1")
        settled(page)
        bottoms = page.locator("#worst li:visible").evaluate_all(
            "cards => cards.map((card) => card.getBoundingClientRect().bottom)"
        )
        assert len(bottoms) > 12
        assert max(bottoms) <= SIZES["wall"][1]
        check_accessible(page)
        page.get_by_role("button", name="Leave full screen").click()
        expect(page.locator("header.top")).to_be_visible()
        page.goto(f"{address(settings)}/?wall=1")
        expect(page.locator("header.top")).to_be_hidden()
        expect(page.locator("#worst li")).to_have_count(40)
        lost = re.compile("/home/|/health")
        page.route(lost, lambda route: route.abort("connectionrefused"))
        page.evaluate("htmx.trigger('#worst', 'energy:refresh')")
        expect(page.locator("#connection")).to_be_visible()
        page.unroute(lost)
        with page.expect_response("**/home/machines**"):  # the parts are asked for at once
            expect(page.locator("#connection")).to_be_hidden(timeout=20_000)
        with page.expect_navigation():  # an update of the platform, as the page sees it
            page.evaluate("document.documentElement.dataset.files = 'older'; htmx.trigger('#worst', 'energy:refresh')")
        expect(page.locator("header.top")).to_be_hidden()
