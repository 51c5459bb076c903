"""`energy broker`: logins of devices and gateways at the embedded broker."""

import re
import secrets
from typing import Annotated

import typer

from storage.settings import Settings, SettingsError

app = typer.Typer(
    help="Make, list and remove logins of devices and gateways at the platform's own broker.", no_args_is_help=True
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The login's name; for a device, its id.")],
    device: Annotated[
        list[str] | None,
        typer.Option(help="A device that it publishes for. Can be given several times. Default: the one named NAME."),
    ] = None,
    *,
    all_devices: Annotated[
        bool, typer.Option("--all-devices", help="It publishes for every device, as a gateway does.")
    ] = False,
) -> None:
    """Make a login and print its password, or give a login a new password. It may publish telemetry and read nothing.

    Messages for other devices are acknowledged and dropped, because MQTT 3.1.1 has no other answer.
    """
    from cli.local import broker_logins, home

    settings = _settings()
    if all_devices and device:
        raise typer.BadParameter("give either --device or --all-devices", param_hint="--device")
    if name in broker_logins.RESERVED or name == settings.mqtt_username:
        raise typer.BadParameter(f"{name!r} is a login of the platform; choose another name", param_hint="NAME")
    devices = None if all_devices else device or [name]
    for hint, value in [("NAME", name), *(("--device", one) for one in device or [])]:
        _check_identifier(hint, value)
    home.make(settings.energy_home)
    login = broker_logins.Login(name, secrets.token_urlsafe(18), devices)
    others = [known for known in broker_logins.read(settings) if known.name != name]
    broker_logins.write(settings, [*others, login])
    _apply(settings)
    print(login.password)


@app.command(name="list")
def list_logins() -> None:
    """List the logins, and which devices each publishes for."""
    from cli.local import broker_logins
    from cli.local.settings import allows_anonymous_devices

    settings = _settings()
    print(f"{'NAME':32} PUBLISHES FOR")
    for login in broker_logins.read(settings):
        print(f"{login.name:32} {'every device' if login.devices is None else ', '.join(login.devices)}")
    if allows_anonymous_devices(settings):
        print(f"{'(without a login)':32} every device")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="The login's name, as `energy broker list` shows it.")]) -> None:
    """Remove a login and disconnect who uses it."""
    from cli.local import broker_logins

    settings = _settings()
    logins = broker_logins.read(settings)
    others = [login for login in logins if login.name != name]
    if len(others) == len(logins):
        raise typer.BadParameter(f"there is no login {name!r}; `energy broker list` shows all", param_hint="NAME")
    broker_logins.write(settings, others)
    _apply(settings)
    print(f"{name} is removed")


def _settings() -> Settings:
    settings = Settings.load()
    if not settings.embeds_broker:
        raise SettingsError(
            "MQTT_BROKER_HOST is set, and that broker keeps its logins itself;"
            " docs/intake.md shows how to make them for Mosquitto"
        )
    return settings


def _check_identifier(hint: str, value: str) -> None:
    from storage.devices import IDENTIFIER, MAX_IDENTIFIER

    if not re.fullmatch(IDENTIFIER, value) or len(value) > MAX_IDENTIFIER:
        raise typer.BadParameter(
            f"{value!r} is not a device's id: 1 to {MAX_IDENTIFIER} letters, digits, '_', '-' and single dots",
            param_hint=hint,
        )


def _apply(settings: Settings) -> None:
    from cli.local import nats

    nats.apply_logins(settings)
