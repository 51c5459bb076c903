"""Logins of the embedded broker: the platform's own, those that `energy broker add` makes, and clients without one.

A login that was made for a device or a gateway may publish telemetry of the devices that it is for, and read nothing.
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from cli.local.settings import allows_anonymous_devices
from ingest.mqtt import EMBEDDED_LOGIN, embedded_password
from storage.settings import Settings

ANONYMOUS = "anonymous-device"
# These are the platform's.
RESERVED = (EMBEDDED_LOGIN, ANONYMOUS)


class Login(msgspec.Struct, frozen=True):
    """A login; `devices` are those that it publishes for, or None if it publishes for every device."""

    name: str
    password: str
    devices: list[str] | None


def read(settings: Settings) -> list[Login]:
    """The logins that were made, by name."""
    try:
        content = _file(settings).read_bytes()
    except FileNotFoundError:
        return []
    return msgspec.json.decode(content, type=list[Login])


def write(settings: Settings, logins: list[Login]) -> None:
    """Replace the logins."""
    write_secret(_file(settings), msgspec.json.encode(sorted(logins, key=lambda login: login.name)).decode())


def write_secret(file: Path, content: str) -> None:
    """Replace a file in one step by one that only its owner can read."""
    new = file.with_name(f"{file.name}.new")
    new.touch(mode=0o600)
    new.write_text(content)
    new.replace(file)


def authorization(settings: Settings) -> dict[str, Any]:
    """Who may do what, for NATS's configuration."""
    platform = {EMBEDDED_LOGIN: embedded_password(settings) or ""}
    if settings.mqtt_username:
        platform[settings.mqtt_username] = settings.mqtt_password.get_secret_value() if settings.mqtt_password else ""
    users = [{"user": name, "password": password} for name, password in platform.items()]
    publishers = read(settings)
    if allows_anonymous_devices(settings):
        # NATS wants a password here too. A new one each time would disconnect them whenever a login is added.
        secret = hashlib.sha256(f"anonymous of {platform[EMBEDDED_LOGIN]}".encode()).hexdigest()
        publishers.append(Login(ANONYMOUS, secret, None))
    return {"users": [*users, *(_user(settings.mqtt_topic, login) for login in publishers)]}


def _user(topic_filter: str, login: Login) -> dict[str, Any]:
    topics = [topic_filter.replace("+", device) for device in login.devices or ["+"]]
    return {
        "user": login.name,
        "password": login.password,
        "permissions": {"publish": {"allow": [subject(topic) for topic in topics]}, "subscribe": {"deny": [">"]}},
    }


def subject(topic: str) -> str:
    """An MQTT topic, or a filter with +, as NATS writes it."""
    return ".".join("*" if level == "+" else level.replace(".", "//") or "/" for level in topic.split("/"))


def _file(settings: Settings) -> Path:
    return settings.energy_home / "broker-logins.json"
