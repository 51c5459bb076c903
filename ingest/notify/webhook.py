"""Webhooks, sent only to hosts that are public or allowed.

The host is resolved once. All its addresses must be public, unless WEBHOOK_ALLOWED_HOSTS names the host. The connection
goes to an address that was checked, so a name that resolves differently a moment later changes nothing. Redirects are
not followed. From the connection to the answer there is one deadline, however slowly the receiver reads and writes.
"""

import hashlib
import hmac
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

TIMEOUT_SECONDS = 10.0
SIGNATURE_HEADER, TIMESTAMP_HEADER = "X-Energy-Signature", "X-Energy-Timestamp"
NOTIFICATION_HEADER = "X-Energy-Notification"


class Deadline:
    """A moment so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds until then.

        Raises:
            TimeoutError: It has passed.

        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer within {self._seconds:g} s")
        return left


class TimedSocket(io.RawIOBase):
    """A socket for an HTTP connection, with a deadline for all that is sent and received."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._deadline.left())
        self._connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.left())
        return self._connection.recv_into(buffer)

    def close(self) -> None:
        self._connection.close()
        super().close()


class WebhookFailed(Exception):
    """The receiver was not reached, is not allowed, or did not answer with 2xx."""


def post(
    url: str, body: bytes, *, notification: str, secret: SecretStr | None = None, allowed_hosts: Iterable[str] = ()
) -> str:
    """Deliver a JSON body and return the answer's status, such as `200 OK`.

    With a secret, the header `X-Energy-Signature` is `sha256=` and the HMAC-SHA256 of `{X-Energy-Timestamp}.{body}`.

    Raises:
        WebhookFailed: the message says what went wrong, for the record of attempts.

    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"energy-platform/{version('energy-platform')}",
        NOTIFICATION_HEADER: notification,
        **_signature(body, secret),
    }
    connection = http.client.HTTPConnection(host, port)
    try:
        addresses = _checked_addresses(host, port, allowed=host in allowed_hosts)
        deadline = Deadline(TIMEOUT_SECONDS)
        connection.sock = TimedSocket(_connect(host, port, addresses, deadline, secure=secure), deadline)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise WebhookFailed(f"{host}: {reason}") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        redirect = "; redirects are not followed" if 300 <= answer.status < 400 else ""
        raise WebhookFailed(f"{host} answered {answer.status} {answer.reason}{redirect}")
    return f"{answer.status} {answer.reason}".strip()


def _checked_addresses(host: str, port: int, *, allowed: bool) -> list[str]:
    """The host's addresses.

    Raises:
        WebhookFailed: One of them is not public, and the host is not allowed to have such.

    """
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    blocked = [address for address in addresses if not is_public(address)]
    if blocked and not allowed:
        raise WebhookFailed(
            f"{host} resolves to {blocked[0]}, which is not a public address."
            " Add the host to WEBHOOK_ALLOWED_HOSTS to allow it."
        )
    return addresses


def _connect(host: str, port: int, addresses: list[str], deadline: Deadline, *, secure: bool) -> socket.socket:
    connection = _first_that_answers(addresses, port, deadline)
    if not secure:
        return connection
    try:
        connection.settimeout(deadline.left())  # the handshake's as a whole
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _first_that_answers(addresses: list[str], port: int, deadline: Deadline) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), deadline.left())
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), deadline.left())


def is_public(address: str) -> bool:
    """Whether the address is public; of an IPv6 address that carries an IPv4 address, whether both are."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast and ip not in _RELAYS
    if ip in _NAT64:
        return is_public(str(_last_four_bytes(ip)))
    carried = ip.sixtofour or (ip.teredo and ip.teredo[1]) or (_last_four_bytes(ip) if _is_isatap(ip) else None)
    if carried and not is_public(str(carried)):
        return False
    # All other ranges are local, translated, reserved, or not yet anybody's.
    return ip in _GLOBAL_UNICAST and ip.is_global and ip not in _DOCUMENTATION


_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")


def _last_four_bytes(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)


def _is_isatap(ip: ipaddress.IPv6Address) -> bool:
    """Whether the interface is 0000:5EFE or 0200:5EFE and an IPv4 address (RFC 5214)."""
    return (int(ip) >> 32) & 0xFDFFFFFF == 0x00005EFE


def _signature(body: bytes, secret: SecretStr | None) -> dict[str, str]:
    if secret is None:
        return {}
    now = str(int(time.time()))
    digest = hmac.new(secret.get_secret_value().encode(), f"{now}.".encode() + body, hashlib.sha256)
    return {TIMESTAMP_HEADER: now, SIGNATURE_HEADER: f"sha256={digest.hexdigest()}"}
