"""The embedded broker: a NATS server with its MQTT listener, keeping messages and sessions in the home."""

import json
import shutil
import sysconfig
from pathlib import Path

from storage.settings import Settings, SettingsError

# Messages sent to a subscriber and not acknowledged yet. Ingestion acknowledges after its commit, and gathers a whole
# batch while the previous one is stored.
MAX_IN_FLIGHT = 20_000
MAX_PAYLOAD = 1024 * 1024


def prepare(settings: Settings) -> list[str]:
    """Write the server's configuration into the home, and return the command that starts it.

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
        # The NATS protocol is not used but cannot be switched off: let the server take any free port.
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
    """How many bytes the queue may use: what it holds now, and three quarters of the free space.

    By default the server would use three quarters of the free space alone. After a long outage and a restart that can
    be less than what it already holds, and then it would refuse every connection, ingestion's too.
    """
    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return held + shutil.disk_usage(folder).free * 3 // 4
