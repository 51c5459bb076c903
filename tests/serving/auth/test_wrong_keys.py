"""Wrong keys: they are counted by address, and refuse nobody else."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from serving.__main__ import server_config
from serving.settings import ApiSettings
from storage.access import SESSION_COOKIE
from storage.settings import Settings, SettingsError
from tests.serving.conftest import BASE

Key = Callable[..., dict[str, str]]


def statuses(client: TestClient, count: int, **headers: str) -> list[int]:
    return [
        client.get("/api/v1/session", headers={"X-API-Key": f"guess {i}", **headers}).status_code for i in range(count)
    ]


def test_a_valid_key_is_never_refused_for_the_failures_of_others(client: TestClient, key: Key) -> None:
    mine = key("operate")
    assert statuses(client, 22) == [401] * 20 + [429] * 2
    limited = client.post("/api/v1/session", json={"key": "guess"})
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "3")
    for _ in range(30):
        assert client.get("/api/v1/session", headers=mine).status_code == 200
    assert client.post("/api/v1/session", json={"key": mine["X-API-Key"]}).status_code == 200
    assert client.get("/api/v1/session").json()["data"]["role"] == "operate"  # by the cookie


def test_who_sends_no_key_is_not_counted(client: TestClient, key: Key) -> None:
    """Nor is a page whose session has ended: both are told to sign in, however often they ask."""
    key("read")
    for headers in ({}, {"Cookie": f"{SESSION_COOKIE}=ended"}, {"Authorization": "Basic eDp5"}):
        for _ in range(25):
            assert client.get("/api/v1/session", headers=headers).status_code == 401
    assert statuses(client, 21) == [401] * 20 + [429]


def test_right_keys_spend_nothing_of_what_wrong_ones_may(client: TestClient, key: Key) -> None:
    mine = key("read")
    for _ in range(30):
        assert client.post("/api/v1/session", json={"key": mine["X-API-Key"]}).status_code == 200
    client.cookies.clear()
    assert statuses(client, 20) == [401] * 20


def test_a_header_of_an_untrusted_sender_names_no_other_address(
    settings: Settings, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    key("read")

    def guesses_of(forwarded: Callable[[int], str]) -> list[int]:
        config = server_config(Settings.load())
        config.load()
        with TestClient(config.loaded_app, base_url=BASE, client=("127.0.0.1", 50_000)) as client:
            return [
                client.get(
                    "/api/v1/session", headers={"X-API-Key": "guess", "X-Forwarded-For": forwarded(i)}
                ).status_code
                for i in range(21)
            ]

    assert guesses_of(lambda i: f"10.1.1.{i}") == [401] * 20 + [429]
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")
    assert guesses_of(lambda i: f"198.51.100.{i}") == [401] * 21
    # What the proxy's client wrote itself stands further to the left, and does not count.
    assert guesses_of(lambda i: f"198.51.100.{i}, 198.51.100.7") == [401] * 20 + [429]


def test_proxies_are_addresses(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.1,proxy")
    with pytest.raises(SettingsError, match=r"TRUSTED_PROXIES=127\.0\.0\.1,proxy: 'proxy' is not an IP address"):
        ApiSettings.load()
