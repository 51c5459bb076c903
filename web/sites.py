"""Which site a browser's request comes from, and under which name it asks. Programs send no `Origin`."""

from urllib.parse import SplitResult, urlsplit

from starlette.requests import HTTPConnection


def comes_from_another_site(connection: HTTPConnection) -> bool:
    """Whether a page of another site sends the request."""
    origin = connection.headers.get("origin")
    is_ours = origin is None or _address(origin).netloc == connection.headers.get("host")
    return not is_ours or connection.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def requested_host(connection: HTTPConnection) -> str | None:
    """The host that the request names, without the port.

    A page of another site whose name was made to point to 127.0.0.1 still sends its own name.
    """
    return _address(f"//{connection.headers.get('host', '')}").hostname


def _address(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")
