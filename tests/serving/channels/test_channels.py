from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from storage.settings import Settings
from tests.ingest.notify.test_webhook import Receiver, receiver  # noqa: F401 - a fixture
from tests.serving.conftest import BASE

Key = Callable[..., dict[str, str]]


@pytest.fixture
def hook(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:  # noqa: F811
    monkeypatch.setenv("WEBHOOK_ALLOWED_HOSTS", "localhost")
    monkeypatch.setenv("NOTIFY_WEBHOOK", f"http://localhost:{receiver.port}/all")
    monkeypatch.setenv("NOTIFY_WEBHOOK_LINE__ACME", f"http://localhost:{receiver.port}/acme")
    return receiver


def test_a_test_message_arrives_or_says_why_not(hook: Receiver, settings: Settings, key: Key) -> None:
    with TestClient(create_app(settings), base_url=BASE) as client:
        channels = client.get("/api/v1/channels").json()["data"]
        assert channels == [{"channel": "webhook", "kind": "webhook", "own": False}]
        sent = client.post("/api/v1/channels/webhook/test").json()
        assert sent == {"success": True, "data": {"channel": "webhook", "outcome": "sent", "detail": "200 OK"}}
        assert b"This is a test of the channel webhook" in hook.received[0][2]
        hook.answers.append((503, {}))
        failed = client.post("/api/v1/channels/webhook/test").json()
        assert (failed["success"], failed["data"]["outcome"]) == (False, "failed")
        assert "503" in failed["data"]["detail"]
        missing = client.post("/api/v1/channels/email/test").json()["data"]
        assert missing["outcome"] == "unconfigured"
        assert "NOTIFY_EMAIL" in missing["detail"]


def test_a_tenant_tests_its_own_channels_only(hook: Receiver, settings: Settings, key: Key) -> None:
    acme, operator = key("admin", "acme"), key("operate", "acme")
    with TestClient(create_app(settings), base_url=BASE) as client:
        channels = client.get("/api/v1/channels", headers=acme).json()["data"]
        assert [(c["channel"], c["own"]) for c in channels] == [("webhook", False), ("webhook_line", True)]
        assert client.post("/api/v1/channels/webhook_line/test", headers=acme).json()["success"]
        assert client.post("/api/v1/channels/webhook/test", headers=acme).status_code == 403
        assert client.post("/api/v1/channels/webhook_line/test", headers=operator).status_code == 403
        assert client.get("/api/v1/channels", headers=key("read", "other")).json()["data"] == [channels[0]]
    assert [path for path, _, _ in hook.received] == ["/acme"]
