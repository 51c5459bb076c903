"""Gives an MQTT session in a NATS server's store another client id, with all messages that wait for it.

Earlier releases connected the ingester with a client id that anybody could name, and so take. The server keeps a record
of each session in the stream `$MQTT_sess`, under a hash of the client id; messages and acknowledgements hang on the
consumers that the record names. So a session is moved by writing its record again under the other id. This depends on
the server's version, which the requirements pin, and is done while nobody else is connected.
"""

import base64
import hashlib
import io
import json
import secrets
import socket
import string
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.local.ports import free_port
from cli.local.postgres import without_secrets
from storage.settings import SettingsError

START_TIMEOUT_SECONDS = 120.0
ANSWER_TIMEOUT_SECONDS = 30.0
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_STREAM = "$MQTT_sess"


def move(program: str, store: Path, old: str, new: str) -> None:
    """Give the session of client `old` to client `new`. Nothing happens if there is none.

    Args:
        program: the NATS server.
        store: its `store_dir`. No server may run on it.
        old: a client id.
        new: another client id.

    Raises:
        SettingsError: the server does not start on the store, or does not do it.

    """
    with _server(program, store) as connection:
        record = connection.ask(f"$JS.API.STREAM.MSG.GET.{_STREAM}", {"last_by_subj": _subject(old)})
        if "message" not in record:
            return
        session = json.loads(base64.b64decode(record["message"]["data"]))
        written = connection.ask(_subject(new), {**session, "id": new})
        purged = connection.ask(f"$JS.API.STREAM.PURGE.{_STREAM}", {"filter": _subject(old)})
        for answer in (written, purged):
            if "error" in answer:
                raise SettingsError(f"the broker cannot move ingestion's session: {answer['error']}")


def _subject(client_id: str) -> str:
    digest = hashlib.sha256(client_id.encode()).digest()[:8]
    return "$MQTT.sess." + "".join(_DIGITS[byte % len(_DIGITS)] for byte in digest)


class _Connection:
    """As much of NATS's protocol as a request and its answer need."""

    def __init__(self, stream: io.BufferedRWPair, password: str) -> None:
        self._stream = stream
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._stream.readline()  # INFO
        login = {"user": "mover", "pass": password, "verbose": False, "pedantic": False, "lang": "python"}
        self._send(f"CONNECT {json.dumps(login)}", f"SUB {self._inbox} 1")

    def ask(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps(body)
        self._send(f"PUB {subject} {self._inbox} {len(content.encode())}", content)
        while line := self._stream.readline().decode().split():
            if line[0] == "PING":
                self._send("PONG")
            elif line[0] == "MSG":
                answer: dict[str, Any] = json.loads(self._stream.read(int(line[-1])))
                self._stream.readline()
                return answer
            elif line[0] == "-ERR":
                raise SettingsError(f"the broker cannot move ingestion's session: {' '.join(line)}")
        raise ConnectionError("the broker has closed the connection")

    def _send(self, *lines: str) -> None:
        self._stream.write("".join(f"{line}\r\n" for line in lines).encode())
        self._stream.flush()


@contextmanager
def _server(program: str, store: Path) -> Iterator[_Connection]:
    """A server on the store, for one connection of ours."""
    port, password = free_port(), secrets.token_urlsafe(24)
    configuration = {
        "server_name": "energy",
        "listen": f"127.0.0.1:{port}",
        "max_payload": 8 * 1024 * 1024,
        "jetstream": {"store_dir": str(store)},
        "authorization": {"users": [{"user": "mover", "password": password}]},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:  # readable by its owner only
        json.dump(configuration, file)
        file.flush()
        process = subprocess.Popen(
            [program, "--config", file.name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=without_secrets(),
        )
        try:
            with _connected(process, port) as one, one.makefile("rwb") as stream:
                yield _Connection(stream, password)
        except (OSError, ValueError) as error:
            raise SettingsError(f"the broker does not answer on what is in {store}: {error}") from error
        finally:
            process.terminate()
            process.wait()


def _connected(process: "subprocess.Popen[bytes]", port: int) -> socket.socket:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_SECONDS)
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
