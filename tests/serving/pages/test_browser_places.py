"""Where people are on a page: what has the focus, what they chose, which part of a chart they see."""

import pytest
from playwright.sync_api import Page, expect
from sqlmodel import Session

from storage import access
from storage.settings import Settings
from tests.serving.alerts.test_alerts import add_alert, add_rule
from tests.serving.pages.conftest import OpenPage
from tests.serving.pages.test_analytics_and_reports import RESULTS, add_job
from tests.serving.pages.test_browser import address, settled
from tests.serving.pages.test_browser_work import HOSTILE, plant
from tests.support.running import serving

pytestmark = pytest.mark.slow
__all__ = ["plant"]

TICKS = """async ([values, unit]) => {
  const { formatTicks } = await import(document.querySelector('script[src$="main.js"]').src.replace("main", "number"));
  return formatTicks(values, unit);
}"""
# How many points of the canvas have the colour of the first series, once the chart draws one value between two gaps.
DRAWN = """async () => {
  const { chartOf } = await import(document.querySelector('script[src$="chart.js"]').src);
  const figure = document.querySelector("figure[data-chart]"), chart = chartOf(figure);
  const values = [null, null, 5, null, null], time = values.map((_, i) => 1e9 + i * 86400);
  chart.data = { time, series: [{ label: "a", unit: "W", values }], start: time[0], end: time[4] };
  chart.draw();
  await new Promise(requestAnimationFrame);
  const { width, height } = figure.querySelector("canvas");
  const { data } = figure.querySelector("canvas").getContext("2d").getImageData(0, 0, width, height);
  return data.filter((_, i) => i % 4 === 0 && data[i] === 0x0b && data[i + 1] === 0x6e && data[i + 2] === 0x4f).length;
}"""


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).first.focus()
    page.keyboard.press("Enter")


def expect_focus_on(page: Page, text: str) -> None:
    expect(page.locator(":focus")).to_have_text(text)


def test_a_refused_field_is_marked_and_has_the_focus(plant: str, open_page: OpenPage) -> None:
    page = settled(open_page(f"{plant}/reports", refusals=True))
    page.get_by_label("Machines' ids").fill("d1")
    page.get_by_label("PDF").uncheck()
    press(page, "Make the report")
    expect(page.locator("#notice")).to_contain_text("no format is ticked")
    expect(page.get_by_label("PDF")).to_be_focused()
    formats = page.get_by_role("group", name="Formats")
    expect(formats).to_have_attribute("aria-invalid", "true")
    expect(formats).to_have_accessible_description("no format is ticked; tick at least one")
    page.get_by_label("PDF").check()
    page.get_by_label("To day").fill("2026-02-01")
    page.get_by_label("From day").fill("2026-02-09")
    press(page, "Make the report")
    expect(page.locator("#notice")).to_contain_text("From day")
    expect(page.get_by_label("From day")).to_be_focused()
    expect(formats).not_to_have_attribute("aria-invalid", "true")


def test_the_focus_stays_where_it_was(plant: str, session: Session, open_page: OpenPage) -> None:
    job = add_job(session, "anomaly", status="completed", results=RESULTS["anomaly"])
    page = settled(open_page(f"{plant}/rules"))
    press(page, "Archive")
    expect_focus_on(page, "Resume")
    page.goto(f"{plant}/analytics/{job}")
    for verdict, then in (("Was a fault", "Take back"), ("Take back", "Was a fault")):
        settled(page).get_by_text(verdict, exact=True).focus()
        page.keyboard.press("Enter")
        expect_focus_on(page, then)
    page.goto(f"{plant}/reports/schedules")
    page.get_by_label("Machines' ids").fill("D1")
    press(page, "Create the schedule")
    for name, then in (("Pause", "Resume"), ("Resume", "Pause")):
        press(page, name)
        expect_focus_on(page, then)
    running = add_job(session, "anomaly", status="running")
    add_job(session, "anomaly", status="running")
    page.goto(f"{plant}/analytics")
    link = settled(page).locator(f'#list a[href$="{running}"]')
    link.focus()
    link.evaluate("link => { link.dataset.before = 'yes'; }")
    page.evaluate("htmx.ajax('GET', 'analytics', { target: '#list' })")
    expect(link).not_to_have_attribute("data-before", "yes")
    expect(link).to_be_focused()
    page.goto(f"{plant}/analytics/{running}")
    press(settled(page), "Cancel")
    expect(page.locator("#job")).to_be_focused()
    page.goto(f"{plant}/alerts")
    settled(page).locator("[data-all]").first.check()
    page.get_by_label("Your name").fill("Ann")
    press(page, "Acknowledge")
    expect_focus_on(page, "Acknowledge")


def test_new_alerts_are_told_while_others_are_chosen(plant: str, session: Session, open_page: OpenPage) -> None:
    page = settled(open_page(f"{plant}/alerts"))
    page.locator("[data-alert] input").first.check()
    page.get_by_label("Note").fill("looked at")
    add_alert(session, add_rule(session, HOSTILE), device_id="D2", message="new")
    page.evaluate("document.dispatchEvent(new CustomEvent('energy:back'))")
    told = page.locator("[data-new]")
    expect(told).to_contain_text("1 new alert")
    expect(page.locator("[data-alert]")).to_have_count(3)
    told.get_by_role("button", name="Show").click()
    expect(page.locator("[data-alert]")).to_have_count(4)
    expect(page.get_by_label("Note")).to_have_value("looked at")
    expect(page.locator("[data-alert] input:checked")).to_have_count(1)
    expect(page.locator("[data-chosen]")).to_have_text("1")


def test_a_chart_does_not_go_beyond_now(plant: str, open_page: OpenPage) -> None:
    page = settled(open_page(f"{plant}/machines/D1/telemetry?metric=power&span=1h"))
    place = "Date.parse(new URL(location.href).searchParams.get('end_time')) - Date.now()"
    page.locator("figure[data-chart]").focus()
    for key in ("+", "-", "-"):
        page.keyboard.press(key)
        settled(page)
        assert page.evaluate(place) < 1000, key
    for name in ("Later", "Zoom out"):
        press(page, name)
        settled(page)
        assert page.evaluate(place) < 1000, name


def test_the_marks_of_an_axis_have_one_unit(plant: str, open_page: OpenPage) -> None:
    page = settled(open_page(plant))
    for values, unit, marks in (
        ([0, 0.5, 1, 1.5], "kWh", "0 kWh|0.5 kWh|1 kWh|1.5 kWh"),
        ([0, 0.05, 0.1], "kWh", "0 Wh|50 Wh|100 Wh"),
        ([-1500, 0, 1500], "W", "-1.5 kW|0 kW|1.5 kW"),
        ([0, 25], "°C", "0 °C|25 °C"),
    ):
        assert "|".join(page.evaluate(TICKS, [values, unit])).replace("\N{NO-BREAK SPACE}", " ") == marks


def test_a_single_day_is_drawn(plant: str, open_page: OpenPage) -> None:
    page = settled(open_page(f"{plant}/machines/D1/telemetry?metric=power"))
    assert page.evaluate(DRAWN) > 4


@pytest.mark.parametrize("path", ["/", "/machines/D1"])
def test_every_page_and_tab_is_in_sight_on_a_phone(plant: str, open_page: OpenPage, path: str) -> None:
    page = settled(open_page(plant + path, size="phone"))
    links = page.locator(".top nav a, .tabs a")
    assert links.count() >= 8
    for box in links.evaluate_all("links => links.map((link) => link.getBoundingClientRect().toJSON())"):
        assert box["left"] >= 0
        assert box["right"] <= 390
        assert box["height"] >= 24


@pytest.mark.parametrize(("path", "button"), [("/rules", "Archive"), ("/alerts", "Resolve")])
def test_what_is_done_with_a_row_is_in_sight_on_a_phone(
    plant: str, open_page: OpenPage, path: str, button: str
) -> None:
    page = settled(open_page(plant + path, size="phone"))
    box = page.get_by_role("button", name=button).first.bounding_box()
    assert box
    assert box["x"] + box["width"] <= 390


def test_what_was_typed_when_the_session_had_ended_is_there_again(
    plant: str, session: Session, open_page: OpenPage
) -> None:
    secret = access.create_key(session, "shift", "operate", None)
    session.commit()
    page = open_page(f"{plant}/alerts")

    def sign_in() -> None:
        page.get_by_label("Key").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        settled(page)

    sign_in()
    page.locator("[data-alert] input").first.check()
    page.get_by_label("Note").fill("New fan")
    page.context.clear_cookies()
    page.get_by_role("button", name="Acknowledge").click()
    sign_in()
    expect(page.get_by_text("What you had typed is here again")).to_be_visible()
    expect(page.get_by_label("Note")).to_have_value("New fan")
    expect(page.locator("[data-chosen]")).to_have_text("1")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("1 alert changed")).to_be_visible()


def test_the_first_command_is_copied(settings: Settings, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_RATE_LIMIT", "0")
    with serving(settings):
        page = settled(open_page(address(settings), size="phone"))
        command = page.locator("#command")
        assert command.evaluate("code => code.parentElement.scrollWidth <= code.parentElement.clientWidth")
        page.evaluate("""() => {
          document.addEventListener("copy", () => { document.body.dataset.copied = getSelection().toString(); });
          navigator.clipboard.writeText = () => Promise.reject(new Error("the page is not secure"));
        }""")
        press(page, "Copy")
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert "mosquitto_pub" in page.evaluate("document.body.dataset.copied")
