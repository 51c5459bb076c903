"""Checks the ports that the platform is about to open, and names each one that it cannot open."""

import errno
import os
import socket

import psutil

from storage.settings import Settings, SettingsError


def check(settings: Settings) -> None:
    """Return if every port can be opened.

    Raises:
        SettingsError: some cannot; a line for each names the port and its variable.

    """
    complaints: list[str] = []
    seen: dict[int, str] = {}
    for variable, host, port in _listeners(settings):
        if port in seen:
            complaints.append(f"{seen[port]} and {variable} are both {port}; set one of them to another port")
        elif complaint := _complaint(variable, host, port):
            complaints.append(complaint)
        seen[port] = variable
    if complaints:
        raise SettingsError("\n".join(complaints))


def free_port() -> int:
    """A port on loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _listeners(settings: Settings) -> list[tuple[str, str, int]]:
    listeners = [("API_PORT", settings.api_host, settings.api_port)]
    if settings.dagster_url is None:
        listeners.append(("DAGSTER_PORT", "127.0.0.1", settings.dagster_port))
    if settings.embeds_broker:
        listeners.append(("MQTT_BROKER_PORT", "127.0.0.1", settings.mqtt_broker_port))
    if settings.embeds_postgres:
        listeners.append(("POSTGRES_PORT", "127.0.0.1", settings.postgres_port))
    listeners.append(("INGEST_METRICS_PORT", "127.0.0.1", settings.ingest_metrics_port))
    return listeners


def _complaint(variable: str, host: str, port: int) -> str | None:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        return f"API_HOST={host} is not an address of this machine ({error.strerror})"
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {port} is taken{_holder(port)}; stop that process, or set {variable} to a free port"
            if error.errno == errno.EADDRNOTAVAIL:
                return f"API_HOST={host} is not an address of this machine"
            return f"port {port} cannot be opened ({os.strerror(error.errno or 0)}); set {variable} to another port"
    return None


def _holder(port: int) -> str:
    """Who listens on a port, if the system tells us."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return (
                    f" by process {connection.pid} ({psutil.Process(connection.pid).name()})" if connection.pid else ""
                )
    except psutil.Error:
        pass
    return ""
