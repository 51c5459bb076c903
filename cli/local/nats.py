"""The embedded broker: a NATS server with its MQTT listener, keeping messages and sessions in the home."""

import json
import shutil
import sysconfig
from pathlib import Path

from storage.settings import Settings, SettingsError

# Messages on their way to one subscriber without an acknowledgement. Ingestion acknowledges after its commit, and has
# a whole batch waiting while the one before is stored.
MAX_IN_FLIGHT = 20_000
MAX_PAYLOAD = 1024 * 1024


def prepare(settings: Settings) -> list[str]:
    """Write the server's configuration into the home; the answer is the command that starts it.

    Raises:
        SettingsError: the server is not installed.

    """
    program = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if program is None:
        raise SettingsError("nats-server is not installed; run `make setup`, or set MQTT_BROKER_HOST")
    folder = settings.energy_home / "broker"
    folder.mkdir(mode=0o700, exist_ok=True)
    configuration = {
        "server_name": "energy",
        # Its own protocol is not used, and cannot be switched off: the server takes any free port.
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
    if settings.mqtt_username:
        password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else ""
        configuration["authorization"] = {"user": settings.mqtt_username, "password": password}
    file = folder / "nats.conf"
    file.touch(mode=0o600)
    file.write_text(json.dumps(configuration, indent=2))
    return [program, "--config", str(file)]


def _room(folder: Path) -> int:
    """How many bytes the queue may take: what it has, and three quarters of what is free.

    By itself the server would take three quarters of what is free without what it has. After a long outage and a
    restart that is less than what it has, and then it lets nobody in, ingestion neither.
    """
    kept = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return kept + shutil.disk_usage(folder).free * 3 // 4
