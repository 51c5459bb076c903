import ssl
import subprocess
from pathlib import Path

import pytest

from ingest.mqtt import connection_options
from ingest.mqtt.client import log_in, new_client
from ingest.mqtt.subscription import Subscription
from storage.settings import Settings


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test",
               "-keyout", str(tmp_path / "key.pem"), "-out", str(file)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return file


def test_login_and_tls_are_those_of_the_settings(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_BROKER_HOST", "broker.plant")
    monkeypatch.setenv("MQTT_BROKER_PORT", "8883")
    monkeypatch.setenv("MQTT_USERNAME", "platform")
    monkeypatch.setenv("MQTT_PASSWORD", "a secret")
    monkeypatch.setenv("MQTT_TLS_CA", str(authority))
    settings = Settings.load()
    options = connection_options(settings)
    assert (options.host, options.port) == ("broker.plant", 8883)
    assert (options.username, options.password) == ("platform", "a secret")
    assert "a secret" not in repr(options)
    assert options.tls_context
    assert options.tls_context.verify_mode is ssl.CERT_REQUIRED
    assert options.tls_context.check_hostname
    assert [ca["subject"] for ca in options.tls_context.get_ca_certs()] == [((("commonName", "test"),),)]
    for client in (new_client(settings, "one"), Subscription(settings)._client):
        assert (client.username, client._password) == ("platform", b"a secret")
        assert client._ssl_context
        assert client._ssl_context.verify_mode is ssl.CERT_REQUIRED
        with pytest.raises(ValueError, match="already been configured"):
            log_in(client, settings)


def test_without_login_and_tls_there_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_BROKER_HOST", "broker.plant")
    options = connection_options(Settings.load())
    assert (options.username, options.password, options.tls_context) == (None, None, None)


def test_at_the_embedded_broker_the_platform_has_a_login_of_its_own(settings: Settings) -> None:
    options = connection_options(settings)
    assert options.username == "platform"
    assert len(options.password or "") >= 24
    assert connection_options(settings) == options, "whoever needs it first makes it"


def test_a_missing_authority_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MQTT_TLS_CA", str(tmp_path / "missing.pem"))
    with pytest.raises(FileNotFoundError):
        connection_options(Settings.load())
