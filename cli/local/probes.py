"""Whether a service answers. A probe is a URL, so that it can be kept in a file and used from any process.

| URL | checks |
| --- | --- |
| `http://host:port/path` | that the status is below 400 |
| `https://host:port/path` | the same, whoever signed the certificate: the service is our own |
| `tcp://host:port` | that a connection is accepted |
| `postgresql://host:port` | that the server accepts logins |
| `dagster-location://host:port` | that Dagster's webserver has loaded every code location |
| `dagster-daemon://host:port` | that all of the daemon's loops have reported since it was started |
"""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from psycopg import pq

TIMEOUT_SECONDS = 3.0
# Dagster's daemon reports every 30 s.
MAX_HEARTBEAT_AGE_SECONDS = 90.0

LOCATIONS = "{workspaceOrError {... on Workspace {locationEntries {name locationOrLoadError {__typename}}}}}"
DAEMONS = "{instance {daemonHealth {allDaemonStatuses {daemonType required lastHeartbeatTime}}}}"


_OURS = ssl.create_default_context()
_OURS.check_hostname = False
_OURS.verify_mode = ssl.CERT_NONE


class NotReady(Exception):
    """The service does not answer as it should; the message says what it answered."""


def ask(probe: str, started_at: float, headers: Mapping[str, str] | None = None) -> None:
    """Return if the service, started at that time (seconds since 1970), answers as it should.

    `headers` let a probe pass the guard in front of Dagster's webserver.

    Raises:
        NotReady: it does not.

    """
    url = urlsplit(probe)
    try:
        match url.scheme:
            case "http":
                _http(url.netloc, "GET", url.path, {})
            case "https":
                _answer(
                    http.client.HTTPSConnection(url.netloc, context=_OURS, timeout=TIMEOUT_SECONDS), "GET", url.path, {}
                )
            case "tcp":
                socket.create_connection((url.hostname, url.port), TIMEOUT_SECONDS).close()
            case "postgresql":
                _postgres(probe)
            case "dagster-location":
                _dagster_location(url.netloc, headers or {})
            case "dagster-daemon":
                _dagster_daemon(url.netloc, headers or {}, max(started_at, time.time() - MAX_HEARTBEAT_AGE_SECONDS))
            case _:
                raise NotReady(f"{probe} is not a probe")
    except (ValueError, KeyError, TypeError) as error:
        raise NotReady(f"answers something else than expected: {error!r}") from None
    except TimeoutError:
        raise NotReady(f"no answer within {TIMEOUT_SECONDS:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(getattr(error, "strerror", None) or repr(error)) from None


def _http(address: str, method: str, path: str, headers: Mapping[str, str], body: str | None = None) -> bytes:
    return _answer(http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS), method, path, headers, body)


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: str | None = None
) -> bytes:
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status >= 400:
        raise NotReady(f"HTTP {response.status} {content[:300].decode(errors='replace').strip()}")
    return content


def _postgres(url: str) -> None:
    state = pq.PGconn.ping(f"{url}?connect_timeout={TIMEOUT_SECONDS:g}".encode())
    if state != pq.Ping.OK:
        raise NotReady("is starting or recovering" if state == pq.Ping.REJECT else "does not answer")


def _dagster_location(address: str, headers: Mapping[str, str]) -> None:
    locations = _graphql(address, headers, LOCATIONS)["workspaceOrError"].get("locationEntries", [])
    missing = [
        x["name"] for x in locations if (x["locationOrLoadError"] or {}).get("__typename") != "RepositoryLocation"
    ]
    if missing or not locations:
        raise NotReady(f"code location not loaded: {', '.join(missing) or 'no location is known'}")


def _dagster_daemon(address: str, headers: Mapping[str, str], since: float) -> None:
    daemons = _graphql(address, headers, DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    silent = [x["daemonType"] for x in daemons if x["required"] and (x["lastHeartbeatTime"] or 0) < since]
    if silent or not daemons:
        raise NotReady(f"no heartbeat from {', '.join(silent) or 'the daemon'}")


def _graphql(address: str, headers: Mapping[str, str], query: str) -> dict[str, Any]:
    body, headers = json.dumps({"query": query}), {**headers, "Content-Type": "application/json"}
    response = json.loads(_http(address, "POST", "/graphql", headers, body))
    if "errors" in response:
        raise NotReady(str(response["errors"][0].get("message")))
    data: dict[str, Any] = response["data"]
    return data
