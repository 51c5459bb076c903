"""The token that every write of a page carries. A page of another site can send our cookies, but cannot read them.

It is derived from a secret that the browser keeps in a cookie: its session, or without a session a cookie of the pages.
"""

import hashlib
import hmac
import secrets

from fastapi import Request, Response

from serving.http.errors import Refused
from storage.access import SESSION_COOKIE

PAGE_COOKIE = "energy_page"
HEADER, FIELD = "X-CSRF-Token", "csrf_token"


def token(request: Request) -> str:
    """The token of the pages of this request. `remember` must follow for a browser without cookies."""
    return hashlib.sha256(f"csrf:{_secret(request)}".encode()).hexdigest()


def check(request: Request, sent: str | None) -> None:
    """Check the token that a write carries.

    Raises:
        Refused: It is missing, or was made for another session.

    """
    has_cookie = bool({SESSION_COOKIE, PAGE_COOKIE} & request.cookies.keys())
    if not (has_cookie and hmac.compare_digest((sent or "").encode(), token(request).encode())):
        raise Refused("the page is of another session; reload it, and try again")


def remember(request: Request, response: Response) -> None:
    """Give the browser the cookie from which the token was derived, if it has none yet."""
    if new := getattr(request.state, PAGE_COOKIE, None):
        is_secure = request.url.scheme == "https"
        response.set_cookie(PAGE_COOKIE, new, httponly=True, samesite="strict", secure=is_secure)


def _secret(request: Request) -> str:
    known = request.cookies.get(SESSION_COOKIE) or request.cookies.get(PAGE_COOKIE)
    if known is None and (known := getattr(request.state, PAGE_COOKIE, None)) is None:
        known = secrets.token_urlsafe(32)
        setattr(request.state, PAGE_COOKIE, known)
    return str(known)
