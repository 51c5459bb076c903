"""The embedded broker: a NATS server with its MQTT listener, keeping messages and sessions in the home."""

import json
import os
import shutil
import signal
import sysconfig
from pathlib import Path
from typing import Any

from cli.local import broker_logins, home, nats_session
from cli.local.settings import allows_anonymous_devices
from ingest.mqtt import ingester_id
from storage.settings import Settings, SettingsError

# Messages sent to a subscriber and not acknowledged yet. Ingestion acknowledges after its commit, and gathers a whole
# batch while the previous one is stored.
MAX_IN_FLIGHT = 20_000
MAX_PAYLOAD = 1024 * 1024


def prepare(settings: Settings) -> list[str]:
    """Write the server's configuration into the home, and return the command that starts it.

    Raises:
        SettingsError: the server is not installed, or cannot start on what an earlier release left.

    """
    program = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if program is None:
        raise SettingsError("nats-server is not installed; run `make setup`, or set MQTT_BROKER_HOST")
    folder = settings.energy_home / "broker"
    folder.mkdir(mode=0o700, exist_ok=True)
    if _is_of_an_earlier_release(settings):
        nats_session.move(program, folder, settings.mqtt_client_id, ingester_id(settings))
    configuration: dict[str, Any] = {
        "server_name": "energy",
        # The NATS protocol is not used but cannot be switched off: let the server take any free port. It needs a login.
        "listen": "127.0.0.1:-1",
        "max_payload": MAX_PAYLOAD,
        "jetstream": {
            "store_dir": str(folder),
            "max_memory_store": 64 * 1024 * 1024,
            "max_file_store": _room(folder),
            "sync_interval": "10s",
        },
        "mqtt": {
            "listen": f"127.0.0.1:{settings.mqtt_broker_port}",
            "max_ack_pending": MAX_IN_FLIGHT,
            "ack_wait": "5s",
        },
        # The supervisor adds the time.
        "logtime": False,
    }
    if allows_anonymous_devices(settings):
        configuration["mqtt"]["no_auth_user"] = broker_logins.ANONYMOUS
    configuration["authorization"] = broker_logins.authorization(settings)
    broker_logins.write_secret(_configuration_file(settings), json.dumps(configuration, indent=2))
    return [program, "--config", str(_configuration_file(settings))]


def apply_logins(settings: Settings) -> None:
    """Let the server take over the logins of the home. If it does not run, it will read them at its start."""
    state = home.read_state(settings.energy_home)
    process = next((s["pid"] for s in state["services"] if s["name"] == "broker"), None) if state else None
    if process is None:
        return
    file = _configuration_file(settings)
    configuration = json.loads(file.read_text())
    configuration["authorization"] = broker_logins.authorization(settings)
    broker_logins.write_secret(file, json.dumps(configuration, indent=2))
    os.kill(process, signal.SIGHUP)


def _is_of_an_earlier_release(settings: Settings) -> bool:
    """Whether the last start was that of a release without logins, whose ingester had a client id without a secret."""
    try:
        return "users" not in json.loads(_configuration_file(settings).read_text()).get("authorization", {})
    except FileNotFoundError:
        return False


def _configuration_file(settings: Settings) -> Path:
    return settings.energy_home / "broker" / "nats.conf"


def _room(folder: Path) -> int:
    """How many bytes the queue may use: what it holds now, and three quarters of the free space.

    By default the server would use three quarters of the free space alone. After a long outage and a restart that can
    be less than what it already holds, and then it would refuse every connection, ingestion's too.
    """
    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return held + shutil.disk_usage(folder).free * 3 // 4
