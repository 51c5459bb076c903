"""What pages say of wrong input: in the words of their forms, beside them, and never without a word."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from serving.http.errors import FieldError, ProblemDetails
from serving.pages.display import BLANK, days, number, percent
from serving.pages.forms import number_of
from serving.pages.render import FOLDER
from serving.pages.wording import LABELS, in_labels, in_pages, label
from storage.stores import Stores
from tests.serving.pages.test_analytics_and_reports import add_job
from tests.serving.pages.test_machines import HTML, PART, page, register, send
from tests.support.browsing import Browser


def test_each_label_that_an_error_names_is_a_forms_own() -> None:
    templates = "".join(path.read_text() for path in FOLDER.rglob("*.html"))
    shown = re.findall(r"<(?:label|legend)[^>]*>(?:<input[^>]*>)?([^<]+)", templates)
    lost = {text for text in LABELS.values() if not any(one.strip().startswith(text) for one in shown)}
    assert not lost


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("device_ids.1: D2 is of another tenant", "Machines: D2 is of another tenant"),
        ("date_range_start is not before date_range_end", "From day is not before To day"),
        ("a: wrong; threshold: is missing", "A: wrong; Threshold: is missing"),
        ("parameters.horizon_hours: 0 is out of range", "Hours ahead: 0 is out of range"),
        (
            "acknowledged_by is missing; send the name of the person",
            "Your name is missing; send the name of the person",
        ),
        ("counters.energy: is no counter", "counters.energy: is no counter"),
        ("set property; device_ids.3 is empty", "set property; Machines is empty"),
        ('"start_date" is not a day', '"start_date" is not a day'),
        ("send dataset_key, or start_date and end_date", "choose a dataset, or From day and To day"),
        ('give parameters.failures, for example {"failures": ["2026-01-05"]}.', "give When it failed."),
        ("GET /api/v1/devices/{device_id} lists it", "GET /api/v1/devices/{device_id} lists it"),
    ],
)
def test_fields_have_the_names_that_forms_give_them(detail: str, said: str) -> None:
    assert in_labels(detail) == said


def test_routes_of_a_machine_lead_to_its_pages() -> None:
    said = in_pages("D-1 has no correction 7; GET /api/v1/devices/D-1/corrections lists them", "../../")
    assert said == 'D-1 has no correction 7; <a href="../../machines/D-1/energy">Energy</a> lists them'
    assert in_pages("<b> POST /api/v1/devices makes one", "./") == (
        '&lt;b&gt; <a href="./machines">Machines</a> makes one'
    )


@pytest.mark.parametrize("text", ["1e400", "-1e999", "NaN", "Infinity"])
def test_a_number_that_is_none_stays_as_it_was_typed(text: str) -> None:
    assert number_of({"threshold": text}, "threshold") == text


def test_numbers_that_nobody_could_read_are_not_written_out() -> None:
    assert number(1e26, "W").replace(BLANK, " ") == "1.00e+17 GW"


def test_short_times_are_in_milliseconds() -> None:
    assert [number(seconds, "s").replace(BLANK, " ") for seconds in (0.00494, 0.9, 1.24, 65.0)] == [
        "4.94 ms",
        "900 ms",
        "1.24 s",
        "65 s",
    ]


def test_a_chart_says_what_is_wrong_in_the_same_words(client: TestClient) -> None:
    register(client, "D1")
    wrong = client.get("/machines/D1/telemetry-chart?metric=P&width=9", headers={"Accept": "application/json"})
    assert wrong.status_code == 422
    assert wrong.json()["detail"].startswith("Metric: ")
    problem = ProblemDetails(title="", status=422, detail="", errors=[FieldError(field="device_ids.1", message="")])
    assert [label(error.field) for error in problem.errors] == ["Machines"]


def test_a_report_in_no_format_is_refused(client: TestClient) -> None:
    register(client, "D1")
    browser = Browser(client)
    fields = {"device_ids": "D1", "start_date": "2026-02-01", "end_date": "2026-02-07", "frequency": "weekly"}
    for path in ("/reports", "/reports/schedules"):
        refused = browser.send(path, **fields)
        assert refused.status_code == 422, path
        assert "tick at least one" in refused.text, path
        assert 'data-fields="Formats"' in refused.text, path
    assert client.get("/api/reports/jobs").json()["total"] == 0


def test_what_is_wrong_in_an_address_is_said_once(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1", 5)
    first = client.get("/alerts?device_id=a%20b&status=all", headers=HTML)
    assert "Machine: &#34;a b&#34; is not valid" in first.text
    assert "The page is shown without it." in first.text
    assert str(first.url).endswith("/alerts?status=all")
    assert "is not valid" not in page(client, "/alerts?status=all")
    assert "Page: " in page(client, "/machines?page=0")
    assert client.get("/alerts?device_id=a%20b", headers=PART).status_code == 422


@pytest.mark.parametrize(
    "path", ["/alerts?status=all&", "/analytics?", "/reports?", "/data/exports?", "/data/quarantine?"]
)
def test_a_filter_takes_an_id_without_its_capitals(client: TestClient, path: str) -> None:
    register(client, "FEEDER-1")
    assert 'value="FEEDER-1"' in page(client, f"{path}device_id=feeder-1")
    assert 'value="feeder-9"' in page(client, f"{path}device_id=feeder-9")


def test_the_address_of_a_machine_without_its_capitals_names_it(client: TestClient) -> None:
    register(client, "FEEDER-1")
    lost = client.get("/machines/feeder-1/energy", headers=HTML)
    assert lost.status_code == 404
    assert "did you mean FEEDER-1?" in lost.text


def test_no_tenant_learns_another_ones_ids(
    client: TestClient, stores: Stores, key: Callable[..., dict[str, str]]
) -> None:
    admin = key("admin")
    register(client, "PRESS-1", headers=admin, tenant_id="acme")
    register(client, "MILL-1", headers=admin, tenant_id="other")
    for device_id in ("PRESS-1", "MILL-1"):
        send(stores, device_id, 5)
    browser = Browser(client, key("operate", "acme"))
    assert 'value="PRESS-1"' in browser.page("/alerts?device_id=press-1")
    assert 'value="mill-1"' in browser.page("/alerts?device_id=mill-1")
    assert "MILL-1" not in browser.page("/machines/mill-1", status=404)


def test_forms_take_an_id_without_its_capitals(client: TestClient, stores: Stores) -> None:
    for device_id in ("FEEDER-1", "Twin", "TWIN"):
        register(client, device_id)
    browser = Browser(client)
    days_of = {"start_date": "2026-02-01", "end_date": "2026-02-07"}
    assert browser.send("/reports", device_ids="feeder-1", formats="pdf", **days_of).status_code == 204
    assert client.get("/api/reports/jobs?device_id=FEEDER-1").json()["total"] == 1
    rule = {"rule_name": "hot", "property": "power", "condition": ">", "threshold": "5", "severity": "low"}
    assert browser.send("/rules", device_ids="feeder-1, Feeder-1", **rule).status_code == 204
    assert client.get("/api/v1/rules").json()["data"][0]["device_ids"] == ["FEEDER-1"]
    send(stores, "FEEDER-1", 5)
    assert browser.send("/data/exports", device_id="feeder-1").status_code == 204
    assert browser.send("/data/exports", device_id="twin").status_code == 404, "two machines are meant"
    add_job(stores.session, "forecast", device_id="FEEDER-1")
    assert "forecast" in browser.part("/analytics?device_id=feeder-1")


def test_an_unknown_action_is_refused(client: TestClient) -> None:
    browser = Browser(client)
    for path in ("/alerts/change", "/machines/D1/alerts/change"):
        assert browser.send(path, alert_ids="6f9619ff-8b86-4d01-b42d-00cf4fc964ff", action="burn").status_code == 422


def test_a_share_is_not_rounded_to_nothing_or_to_all() -> None:
    blank = "\N{NO-BREAK SPACE}"
    said = [percent(share) for share in (0.0, 0.0004, 0.0006, 0.5, 0.9994, 0.9996, 1.0)]
    assert said == [f"{text}{blank}%" for text in ("0", "< 0.1", "0.1", "50", "99.9", "> 99.9", "100")]


def test_a_period_of_a_sites_days_is_written_in_them() -> None:
    start, end = datetime(2026, 2, 1, 23, tzinfo=UTC), datetime(2026, 2, 8, 23, tzinfo=UTC)
    assert re.findall(r">([\d-]+)<", days(start, end, "Europe/Paris")) == ["2026-02-02", "2026-02-08"]
    assert 'data-time="day"' in days(start, end)


def test_what_is_missing_in_a_form_is_said_once_and_to_people(client: TestClient) -> None:
    register(client, "D1")
    browser = Browser(client)
    refused = browser.send("/reports", device_ids="D1", formats="pdf", start_date="", end_date="")
    assert refused.text.count("From day: is missing; fill it in") == 1
    assert refused.text.count("To day: is missing; fill it in") == 1
    rule = {"rule_name": "r", "property": "power", "condition": ">", "threshold": "5", "severity": "low"}
    wrong = browser.send("/rules", device_ids="D1", cooldown_minutes="soon", **rule)
    assert "Cooldown: &#34;soon&#34; is not a number; give a number such as 12" in wrong.text
