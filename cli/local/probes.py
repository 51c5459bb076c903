"""Whether a part answers. A probe is a URL, so that it can be kept in a file and asked from any process.

| URL | asks |
| --- | --- |
| `http://host:port/path` | for an answer below 400 |
| `tcp://host:port` | for a connection |
| `postgresql://host:port` | whether the server takes logins |
| `dagster-location://host:port` | Dagster's webserver, whether every code location is loaded |
| `dagster-daemon://host:port` | the same, whether all of the daemon's loops have reported since it was started |
"""

import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

from psycopg import pq

TIMEOUT = 3.0
# Dagster's daemon reports every 30 s.
SILENCE = 90.0

LOCATIONS = "{workspaceOrError {... on Workspace {locationEntries {name locationOrLoadError {__typename}}}}}"
DAEMONS = "{instance {daemonHealth {allDaemonStatuses {daemonType required lastHeartbeatTime}}}}"


class NotReady(Exception):
    """A part does not answer, or not as it should; the message says what came instead."""


def ask(probe: str, started_at: float) -> None:
    """Return when the part, started at that time (seconds since 1970), answers as it should.

    Raises:
        NotReady: it does not.

    """
    url = urlsplit(probe)
    try:
        match url.scheme:
            case "http":
                _http(url.netloc, "GET", url.path)
            case "tcp":
                socket.create_connection((url.hostname, url.port), TIMEOUT).close()
            case "postgresql":
                _postgres(probe)
            case "dagster-location":
                _dagster_location(url.netloc)
            case "dagster-daemon":
                _dagster_daemon(url.netloc, max(started_at, time.time() - SILENCE))
            case _:
                raise ValueError(f"{probe} is no probe")
    except TimeoutError:
        raise NotReady(f"no answer within {TIMEOUT:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(getattr(error, "strerror", None) or repr(error)) from None


def _http(address: str, method: str, path: str, body: str | None = None) -> bytes:
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status >= 400:
        raise NotReady(f"HTTP {answer.status} {content[:300].decode(errors='replace').strip()}")
    return content


def _postgres(url: str) -> None:
    state = pq.PGconn.ping(f"{url}?connect_timeout={TIMEOUT:g}".encode())
    if state != pq.Ping.OK:
        raise NotReady("is starting or recovering" if state == pq.Ping.REJECT else "does not answer")


def _dagster_location(address: str) -> None:
    locations = _graphql(address, LOCATIONS)["workspaceOrError"].get("locationEntries", [])
    missing = [
        x["name"] for x in locations if (x["locationOrLoadError"] or {}).get("__typename") != "RepositoryLocation"
    ]
    if missing or not locations:
        raise NotReady(f"code location not loaded: {', '.join(missing) or 'none'}")


def _dagster_daemon(address: str, since: float) -> None:
    daemons = _graphql(address, DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    silent = [x["daemonType"] for x in daemons if x["required"] and (x["lastHeartbeatTime"] or 0) < since]
    if silent or not daemons:
        raise NotReady(f"no word from {', '.join(silent) or 'it'}")


def _graphql(address: str, query: str) -> dict[str, Any]:
    answer = json.loads(_http(address, "POST", "/graphql", json.dumps({"query": query})))
    if "errors" in answer:
        raise NotReady(str(answer["errors"][0].get("message")))
    data: dict[str, Any] = answer["data"]
    return data
