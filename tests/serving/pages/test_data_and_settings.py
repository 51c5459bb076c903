"""The pages of data and settings."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from assets.datasets import export_day
from serving.app import create_app
from storage.quarantine import QuarantinedReading
from storage.settings import Settings
from storage.stores import Stores
from storage.times import utc_now
from tests.ingest.notify.test_webhook import Receiver, receiver  # noqa: F401 - a fixture
from tests.serving.channels.test_channels import hook  # noqa: F401 - a fixture
from tests.serving.conftest import BASE
from tests.serving.pages.test_machines import ENDLESS, SCRIPT, register, send
from tests.support.browsing import Browser
from tests.support.plant import DAY, reading, store

Key = Callable[..., dict[str, str]]


def test_completeness_is_a_table_of_machine_by_day(client: TestClient, stores: Stores) -> None:
    browser = Browser(client)
    assert "No registered machine matches" in browser.page("/data")
    register(client, "D1", SCRIPT)
    register(client, "D2", ENDLESS)
    store(stores, *(reading(minute) for minute in range(720)), reading(1445))
    export_day(stores, "D1", DAY)
    page = browser.page(f"/data?end_date={DAY + timedelta(days=1)}")
    assert f"D1 on {DAY}: 50" in page
    assert "day-warn" in page
    assert "late readings wait for an export" in page
    assert SCRIPT not in page
    assert "D2" in browser.part(f"/data?end_date={DAY}&search=D2")
    assert str(DAY + timedelta(days=1)) in browser.page("/data/late")


def test_exports_are_asked_for_and_cancelled(client: TestClient, stores: Stores) -> None:
    browser = Browser(client)
    register(client, "D1")
    send(stores, "D1")
    assert browser.send("/data/exports", device_id="NOBODY").status_code == 404
    assert browser.send("/data/exports", device_id="D1").headers["HX-Redirect"].endswith("data/exports")
    (job,) = client.get("/api/v1/exports/jobs").json()["data"]
    assert "pending" in browser.page("/data/exports")
    assert "cancelled" in browser.send(f"/data/exports/{job['job_id']}/cancel").text


def test_the_quarantine_is_replayed(client: TestClient, session: Session) -> None:
    browser = Browser(client)
    assert "Nothing waits here" in browser.page("/data/quarantine")
    now = utc_now().replace(microsecond=0).isoformat()
    good = b'{"timestamp": "%s", "power": 5}' % now.encode()
    for payload, reason in ((good, "too hot"), (SCRIPT.encode(), "is not JSON")):
        session.add(QuarantinedReading(device_id="D1", topic="devices/D1/telemetry", payload=payload, reason=reason))
    session.commit()
    page = browser.page("/data/quarantine")
    assert SCRIPT not in page
    assert browser.send("/data/quarantine/replay", of="/data/quarantine").status_code == 422
    replayed = browser.send("/data/quarantine/replay?reason=hot", fields={"of": "all"}).text
    assert "1 of 1 messages were accepted, with 1 readings" in replayed
    ids = [row["id"] for row in client.get("/api/v1/data/quarantine?replayed=false").json()["data"]]
    chosen = browser.send("/data/quarantine/replay", ids=ids).text
    assert "1 were refused again" in chosen
    assert "accepted" in browser.part("/data/quarantine?replayed=true")


def test_channels_are_tested(hook: Receiver, settings: Settings, key: Key) -> None:  # noqa: F811
    with TestClient(create_app(settings), base_url=BASE) as client:
        browser = Browser(client, key("admin"))
        assert "webhook" in browser.page("/settings")
        assert "200 OK" in browser.send("/settings/channels/webhook/test").text
        hook.answers.append((500, {}))
        assert "failed" in browser.send("/settings/channels/webhook/test").text


def test_keys_are_created_and_revoked(client: TestClient, key: Key) -> None:
    assert "The platform is open" in Browser(client).page("/settings")
    browser = Browser(client, key("admin", name="boss"))
    created = browser.send("/settings/keys", name="shift", role="operate", days="7", tenant_id="")
    assert "ek_" in created.text
    assert created.headers["cache-control"] == "no-store"
    page = browser.page("/settings")
    assert "shift" in page
    assert "ek_" not in page
    assert "What is kept" in page
    revoked = browser.send("/settings/keys/revoke", name="shift")
    assert "revoked" in revoked.text
    assert browser.send("/settings/keys", name="x", days="soon").status_code == 422


@pytest.mark.parametrize("role", ["read", "operate"])
def test_keys_and_sizes_are_for_administrators(client: TestClient, key: Key, role: str) -> None:
    key("admin")
    browser = Browser(client, key(role))
    page = browser.page("/settings")
    assert "Keys" not in page
    assert "What is kept" not in page
    assert browser.send("/settings/keys", name="mine", role="admin").status_code == 403
