"""What the home page and the cards say of machines is true: states, times, days, and the worst first."""

import re
from datetime import timedelta
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from serving.pages.cadence import SILENT_BY_DEFAULT, silent_after
from storage import dirty_days
from storage.alerts import Alert
from storage.device_metrics import add_metrics
from storage.devices import DeviceMetadata
from storage.last_seen import save_last_seen
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import HOUR, MINUTE, SECOND, microseconds, moment, utc_now
from tests.serving.pages.test_analytics_and_reports import EVENT, add_job
from tests.serving.pages.test_machines import PART, page, register, send

THRESHOLDS = {"off_below_w": 5, "idle_below_w": 100}


def add_alerts(client: TestClient, stores: Stores, *severities: str) -> None:
    """Open alerts of D1, each a minute newer than the one before."""
    watched = {"rule_name": "r", "scope": "all_devices", "property": "power", "condition": ">", "threshold": 1}
    rule_id = UUID(client.post("/api/v1/rules", json=watched | {"severity": "low"}).json()["data"]["rule_id"])
    now = utc_now()
    for i, severity in enumerate(severities):
        at = now - timedelta(minutes=len(severities) - i)
        rule = {"rule_name": f"rule {severity}", "property": "power", "condition": ">", "threshold": 1}
        stores.session.add(
            Alert(rule_id=rule_id, device_id="D1", severity=severity, message=f"{severity} {i}", actual_value=2.0,
                  threshold_value=1.0, rule=rule, created_at=at, reading_time=at)
        )  # fmt: skip
    stores.session.commit()


def seen_ago(stores: Stores, device_id: str, ago: int, readings: int = 1) -> None:
    """Readings, one a minute, of which the newest was so long (µs) ago, as ingestion keeps them."""
    newest = microseconds(utc_now()) - ago
    times = [newest - i * MINUTE for i in range(readings)]
    stores.telemetry.write(
        [Reading(device_id=device_id, time=t, metrics={"power": 500.0}, received_at=t) for t in times]
    )
    dirty_days.mark_dirty(stores.session, [(device_id, t) for t in times])
    add_metrics(stores.session, {device_id: {"power": 0.0}}, 256)
    save_last_seen(stores.session, {device_id: ago}, {device_id: newest})
    stores.session.commit()


def test_the_worst_alerts_are_listed_also_if_lesser_ones_are_newer(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1", 5)
    add_alerts(client, stores, "critical", *["low"] * 8)
    for text in (page(client, "/home/alerts", PART), page(client, "/machines/D1")):
        assert re.findall(r">rule (\w+)<", text)[:2] == ["critical", "low"], text


def test_an_anomaly_has_the_time_of_its_event(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    results = {"events": [EVENT, EVENT | {"score": 0.3, "why": "less"}], "summary": {"rows": 10}}
    add_job(stores.session, "anomaly", status="completed", completed_at=utc_now(), results=results, ranking=0.8)
    shown = page(client, "/home/analyses", PART)
    anomalies = shown.partition("<h3>Anomalies</h3>")[2].partition("</ul>")[0]
    assert re.findall(r'datetime="([^"]+)"', anomalies) == [str(EVENT["start"]).replace("Z", ".000000Z")]


@pytest.mark.parametrize(
    ("metadata", "ago", "readings", "state"),
    [
        ({"cadence_seconds": 60}, 2, 10, "running"),
        ({"cadence_seconds": 60}, 4, 10, "silent"),
        ({}, 4, 10, "silent"),
        ({}, 2, 1, "sending"),
        ({}, 6, 1, "silent"),
    ],
)
def test_one_rule_says_whether_a_machine_is_silent(
    client: TestClient, stores: Stores, *, metadata: dict[str, object], ago: int, readings: int, state: str
) -> None:
    register(client, "D1", metadata_json=THRESHOLDS | metadata)
    seen_ago(stores, "D1", ago * MINUTE, readings)
    card = page(client, "/home/machines", PART).partition('id="machine-D1"')[2]
    badge = re.search(r'class="badge[^>]*>([^<]*)<', card)
    assert badge
    assert badge[1] == state


def test_a_machine_is_silent_after_three_steps_and_at_least_a_minute() -> None:
    unknown = DeviceMetadata()
    assert silent_after(unknown, []) == silent_after(unknown, [5]) == SILENT_BY_DEFAULT
    assert silent_after(unknown, [0, SECOND, 2 * SECOND]) == MINUTE
    assert silent_after(unknown, [0, HOUR, 2 * HOUR]) == 3 * HOUR
    assert silent_after(DeviceMetadata(cadence_seconds=900), [0, SECOND]) == 45 * MINUTE


def test_what_is_not_worked_out_yet_is_not_said(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    seen_ago(stores, "D1", HOUR)
    card = page(client, "/").partition('id="machine-D1"')[2].partition("</li>")[0]
    assert "sending" not in card
    assert "today" not in card


def test_cards_and_the_sum_have_the_same_day(client: TestClient, stores: Stores) -> None:
    now = microseconds(utc_now())
    hour = moment(now).hour
    # A zone whose midnight was more than an hour after, or before, that of the site, which has UTC.
    register(client, "D1", metadata_json={"timezone": f"Etc/GMT{'+' if hour > 12 else '-'}11"})
    send(stores, "D1", min(hour * 60 + 30, 600), power=60_000.0)
    total = re.search(r"<dt>today until now</dt><dd>([^<]*)<", page(client, "/home/energy", PART))
    card = re.search(r">([^<]*) today</span>", page(client, "/home/machines", PART))
    assert total
    assert card
    assert total[1] == card[1]


def test_a_machine_that_never_sent_is_one_of_those_that_are_not_heard_from(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    register(client, "D2")
    send(stores, "D1", 5)
    shown = page(client, "/home/intake", PART)
    heard = re.search(r"<dt>devices heard from</dt><dd>([^<]*)</dd><dd[^>]*>([^<]*)<", shown)
    assert heard
    assert heard[1] == "1 of 2"
    assert heard[2].endswith("1 never")


def test_a_machine_that_sends_other_metrics_is_not_called_silent(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    seen_ago(stores, "D1", 5 * MINUTE, 60)
    now = microseconds(utc_now()) - SECOND
    stores.telemetry.write([Reading(device_id="D1", time=now, metrics={"temperature": 40.0}, received_at=now)])
    states = re.findall(r'<rect class="state-(\w+)"', page(client, "/machines/D1", PART))
    assert states == ["silent", "unknown"]
