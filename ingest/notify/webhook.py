"""Webhooks, sent only to hosts that are public or allowed.

The host is resolved once. All its addresses must be public, unless WEBHOOK_ALLOWED_HOSTS names the host. The connection
goes to an address that was checked, so a name that resolves differently a moment later changes nothing. Redirects are
not followed.
"""

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from importlib.metadata import version
from urllib.parse import urlsplit

from pydantic import SecretStr

TIMEOUT_SECONDS = 10.0
SIGNATURE_HEADER, TIMESTAMP_HEADER = "X-Energy-Signature", "X-Energy-Timestamp"
NOTIFICATION_HEADER = "X-Energy-Notification"


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
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.sock = _connect(host, port, secure=secure, allowed=host in allowed_hosts)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise WebhookFailed(f"{host}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        redirect = "; redirects are not followed" if 300 <= answer.status < 400 else ""
        raise WebhookFailed(f"{host} answered {answer.status} {answer.reason}{redirect}")
    return f"{answer.status} {answer.reason}".strip()


def _connect(host: str, port: int, *, secure: bool, allowed: bool) -> socket.socket:
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    blocked = [address for address in addresses if not is_public(address)]
    if blocked and not allowed:
        raise WebhookFailed(
            f"{host} resolves to {blocked[0]}, which is not a public address."
            " Add the host to WEBHOOK_ALLOWED_HOSTS to allow it."
        )
    connection = _first_that_answers(addresses, port)
    if not secure:
        return connection
    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _first_that_answers(addresses: list[str], port: int) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), TIMEOUT_SECONDS)
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), TIMEOUT_SECONDS)


def is_public(address: str) -> bool:
    """Whether the address is public; of an IPv6 address that carries an IPv4 address, whether both are."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        carried = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            carried = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if carried and not is_public(str(carried)):
            return False
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _signature(body: bytes, secret: SecretStr | None) -> dict[str, str]:
    if secret is None:
        return {}
    now = str(int(time.time()))
    digest = hmac.new(secret.get_secret_value().encode(), f"{now}.".encode() + body, hashlib.sha256)
    return {TIMESTAMP_HEADER: now, SIGNATURE_HEADER: f"sha256={digest.hexdigest()}"}
