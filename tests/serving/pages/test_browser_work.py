"""Alerts, rules, analyses, reports, data and settings in a real browser: what people see, hear and do."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlmodel import Session

from storage import jobs
from storage.devices import Device
from storage.jobs import AnalyticsJob
from storage.settings import Settings
from storage.stores import Stores
from storage.times import utc_now
from tests.serving.alerts.test_alerts import add_alert, add_rule
from tests.serving.pages.conftest import SIZES, OpenPage
from tests.serving.pages.test_analytics_and_reports import RESULTS, add_job
from tests.serving.pages.test_browser import address, check_accessible, settled
from tests.serving.pages.test_machines import ENDLESS, RIGHT_TO_LEFT, SCRIPT, send
from tests.support.running import serving

pytestmark = pytest.mark.slow

# The newest value that the chart draws, on the axis of the chart.
DRAWN_VALUE = """async () => {
  const { chartOf } = await import(document.querySelector('script[src$="chart.js"]').src);
  return chartOf(document.querySelector("figure[data-chart]")).plot.data[1].findLast((value) => value != null);
}"""
HOSTILE = f"{SCRIPT} {RIGHT_TO_LEFT} {ENDLESS}"
PATHS = (
    "/alerts", "/alerts?status=all", "/rules", "/rules/new?device_id=D1", "/analytics?device_id=D1", "/reports",
    "/reports/schedules", "/data", "/data/quarantine", "/data/late", "/data/exports", "/settings",
)  # fmt: skip


@pytest.fixture
def plant(settings: Settings, session: Session, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a platform with two machines, whose names are odd in every way, and three open alerts."""
    monkeypatch.setenv("API_RATE_LIMIT", "0")
    monkeypatch.setenv("NOTIFY_WEBHOOK", "https://example.invalid/hook")
    for device_id, power in (("D1", 1000.0), ("D2", 500.0)):
        session.add(Device(device_id=device_id, device_name=HOSTILE, device_type="press", location=ENDLESS))
        session.commit()
        send(stores, device_id, power=power, temperature=power / 20)
    rule = add_rule(session, HOSTILE)
    for device_id, minutes in (("D1", 5), ("D1", 3), ("D2", 1)):
        at = utc_now() - timedelta(minutes=minutes)
        add_alert(session, rule, device_id=device_id, message=f"{device_id}: {HOSTILE}", reading_time=at)
    with serving(settings):
        yield address(settings)


def stays(page: Page) -> Page:
    """Mark the document; a reload would lose the mark."""
    page.evaluate("document.body.dataset.stays = 'yes'")
    return page


def has_stayed(page: Page) -> bool:
    return bool(page.evaluate("document.body.dataset.stays === 'yes'"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_accessible_and_fits_every_screen(
    plant: str, session: Session, open_page: OpenPage, theme: str
) -> None:
    results = [f"/analytics/{add_job(session, k, status='completed', results=RESULTS[k])}" for k in RESULTS]
    page = open_page(plant, theme=theme)
    alert = page.request.get(f"{plant}/api/v1/alerts").json()["data"][0]
    for path in (*PATHS, *results, f"/alerts/{alert['alert_id']}", f"/rules/{alert['rule_id']}"):
        page.goto(plant + path)
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            settled(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} on a {size}"
        check_accessible(page)


def test_alerts_of_a_machine_are_resolved_at_once_without_a_reload(plant: str, open_page: OpenPage) -> None:
    page = stays(settled(open_page(f"{plant}/alerts")))
    page.locator("[data-group]", has_text="D1").get_by_label("all of this machine").check()
    expect(page.locator("[data-chosen]")).to_have_text("2")
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Note", exact=True).fill("New fan")
    page.set_viewport_size({"width": 1280, "height": 300})
    page.get_by_role("button", name="Resolve").click()
    expect(page.get_by_text("2 alerts changed")).to_be_in_viewport()
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(page.locator("[data-group]")).to_have_count(1)
    page.get_by_label("State", exact=True).select_option("resolved")
    expect(page.get_by_text("New fan")).to_have_count(2)
    assert "status=resolved" in page.url
    assert has_stayed(page)


def test_moving_the_threshold_asks_for_the_preview_again(plant: str, open_page: OpenPage) -> None:
    page = stays(settled(open_page(f"{plant}/rules/new?device_id=D1")))
    page.get_by_label("Name").fill("Power of the press")
    page.get_by_label("Metric").fill("power")
    page.get_by_label("Threshold", exact=True).fill("900")
    preview = page.locator("#preview")
    expect(preview.locator("strong")).not_to_have_text("0 alerts")
    expect(preview.locator("canvas")).to_be_visible()
    slider = page.get_by_label("Move the threshold")
    slider.focus()
    page.keyboard.press("End")
    expect(preview.locator("strong").first).to_have_text("0 alerts")
    expect(preview).to_contain_text("of 1 machine")
    page.get_by_label("Condition").select_option("no_data")
    expect(slider).to_be_hidden()
    expect(preview).to_contain_text("has no preview")
    page.get_by_label("Threshold", exact=True).fill("10")
    page.get_by_role("button", name="Create the rule").dblclick()
    page.wait_for_url("**/rules/*-*")
    assert page.request.get(f"{plant}/api/v1/rules?search=Power").json()["total"] == 1
    page.get_by_label("Threshold", exact=True).fill("11")
    for _ in range(2):  # the page knows the version that it has saved
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("The rule is saved.")).to_be_visible()
        page.evaluate("document.getElementById('saved').replaceChildren()")
    expect(page.get_by_role("heading", name="Power of the press")).to_be_visible()


def test_an_error_stays_while_parts_of_the_page_renew_themselves(plant: str, open_page: OpenPage) -> None:
    page = stays(settled(open_page(f"{plant}/rules/new?device_id=D1", refusals=True)))
    page.get_by_label("Name").fill("Power of the press")
    page.get_by_label("Threshold", exact=True).fill("5")
    page.get_by_text("Only at certain hours").click()
    page.get_by_label("From", exact=True).fill("25:99")
    page.get_by_label("To", exact=True).fill("06:00")
    with page.expect_response("**/rules/preview"):
        page.get_by_role("button", name="Create the rule").click()
    notice = settled(page).locator("#notice")
    expect(notice).to_contain_text("give a time of day")
    expect(notice).to_be_in_viewport()
    with page.expect_response("**/rules/preview"):
        page.get_by_label("From", exact=True).fill("22:00")
    expect(settled(page).locator("#notice")).to_contain_text("give a time of day")
    page.get_by_role("button", name="Create the rule").click()
    page.wait_for_url("**/rules/*-*")


def test_an_error_is_shown_in_the_apis_words_and_nothing_is_lost(plant: str, open_page: OpenPage) -> None:
    page = stays(settled(open_page(f"{plant}/analytics", refusals=True)))
    page.get_by_label("Machine").first.fill("NOBODY")
    page.keyboard.press("Tab")
    settled(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#notice")).to_contain_text("there is no device NOBODY")
    expect(page.get_by_label("Machine").first).to_have_value("NOBODY")
    assert has_stayed(page)


def test_an_error_stays_in_sight_and_takes_back_that_something_was_done(plant: str, open_page: OpenPage) -> None:
    page = stays(settled(open_page(f"{plant}/alerts", refusals=True)))
    page.locator("[data-group]", has_text="D1").get_by_label("all of this machine").check()
    page.get_by_label("Your name").fill("Ann")
    page.get_by_role("button", name="Resolve").click()
    done = page.get_by_text("2 alerts changed")
    expect(done).to_be_visible()
    expect(page.get_by_label("Your name")).to_have_value("Ann")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.get_by_role("button", name="Acknowledge").click()
    notice = page.locator("#notice")
    expect(notice).to_contain_text("no alert is chosen")
    expect(notice).to_be_in_viewport()
    expect(done).to_be_hidden()
    page.locator("[data-all]").first.check()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("changed")).to_be_visible()
    expect(notice).to_be_empty()
    assert has_stayed(page)


def test_a_rule_is_paused_and_resumed_by_keyboard(plant: str, open_page: OpenPage) -> None:
    page = stays(settled(open_page(f"{plant}/rules")))
    page.get_by_role("button", name="Pause").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Resume").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause").first).to_be_focused()
    assert has_stayed(page)


def test_what_was_typed_into_a_form_stays_when_its_options_come_anew(plant: str, open_page: OpenPage) -> None:
    page = settled(open_page(f"{plant}/analytics"))
    page.get_by_label("From day").fill("2026-02-03")
    suggested = page.get_by_label("To day").input_value()
    page.get_by_label("Machine").first.fill("D1")
    page.locator("#analysis_type").select_option("forecast")
    expect(page.get_by_label("Metric")).to_be_attached()
    settled(page)
    expect(page.get_by_label("From day")).to_have_value("2026-02-03")
    expect(page.get_by_label("To day")).to_have_value(suggested)


def test_a_platform_that_does_not_answer_in_time_is_said_to_be_away(plant: str, open_page: OpenPage) -> None:
    page = settled(open_page(f"{plant}/alerts", refusals=True))
    page.evaluate("htmx.config.defaultTimeout = 300")
    page.route("**/alerts?*", lambda _route: None)
    page.route("**/health", lambda _route: None)
    page.get_by_label("State", exact=True).select_option("resolved")
    banner = page.get_by_text("The platform does not answer")
    expect(banner).to_be_visible()
    page.unroute("**/health")
    expect(banner).to_be_hidden()


def test_a_write_without_an_answer_is_said_to_be_unsure(plant: str, open_page: OpenPage) -> None:
    page = settled(open_page(f"{plant}/alerts"))
    page.evaluate("htmx.config.defaultTimeout = 300")
    page.route("**/alerts/change?*", lambda _route: None)
    page.locator("[data-alert] input").first.check()
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Note").fill("New fan")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.get_by_text("it is not known whether this was done")).to_be_in_viewport()
    expect(page.get_by_label("Note")).to_have_value("New fan")
    expect(page.locator("[data-chosen]")).to_have_text("1")


def test_an_analysis_is_followed_until_its_result(plant: str, session: Session, open_page: OpenPage) -> None:
    job_id = add_job(
        session, "anomaly", status="running", progress=10.0, message="Reading datasets", date_range_end=utc_now()
    )
    page = stays(settled(open_page(f"{plant}/analytics/{job_id}")))
    expect(page.get_by_text("Reading datasets")).to_be_visible()
    job = jobs.find(session, AnalyticsJob, job_id)
    assert job
    jobs.complete(session, job, "Completed", results=RESULTS["anomaly"])
    session.commit()
    expect(page.get_by_role("heading", name="1 event")).to_be_visible()
    when = page.locator("#event-1 time").inner_text()
    assert "UTC" not in when
    page.get_by_role("button", name="Event 1 was a fault").click()
    expect(page.get_by_text("was a fault", exact=True)).to_be_visible()
    expect(page.locator("#event-1 time")).to_have_text(when)
    expect(page.locator("figure[data-chart] canvas")).to_be_visible()
    assert has_stayed(page)


def test_preferences_apply_at_once_and_are_kept(plant: str, open_page: OpenPage) -> None:
    page = settled(open_page(f"{plant}/settings"))
    before = page.locator("[data-now]").inner_text()
    page.get_by_label("Theme").select_option("dark")
    page.get_by_label("Times in").select_option("UTC")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(page.locator("[data-now]")).not_to_have_text(before)
    settled(page).reload()
    expect(page.get_by_label("Theme")).to_have_value("dark")
    page.get_by_label("Temperatures in").select_option("F")
    page.goto(f"{plant}/machines/D1")
    expect(page.get_by_text("122\N{NO-BREAK SPACE}°F").first).to_be_visible()
    page.goto(f"{plant}/machines/D1/telemetry?metric=temperature")
    expect(page.locator("figure[data-chart] canvas")).to_be_visible()
    assert page.evaluate(DRAWN_VALUE) == pytest.approx(122)
    page.goto(f"{plant}/alerts")
    times: Any = page.locator('td time[data-time="time"]').first
    shown, utc = times.inner_text(), times.get_attribute("title") or ""
    assert utc.split()[1][:5] in shown, (shown, utc)
