"""How long a browser stays signed in: a screen on a wall needs no hand, and who may change something signs in again."""

from collections.abc import Callable
from datetime import timedelta
from unittest import mock

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from storage import access
from storage.access import SESSION_COOKIE, AccessToken, Role
from storage.times import utc_now
from tests.serving.pages.test_machines import HTML, PART

LATER = timedelta(hours=11)


def expiry(session: Session) -> timedelta:
    session.expire_all()
    return session.exec(select(AccessToken)).one().expires_at - utc_now()


@pytest.mark.parametrize(("role", "is_extended"), [("read", True), ("operate", False), ("admin", False)])
def test_only_the_session_of_who_may_look_goes_on(
    client: TestClient, key: Callable[..., dict[str, str]], session: Session, *, role: Role, is_extended: bool
) -> None:
    client.post("/api/v1/session", json={"key": key(role)["X-API-Key"]})
    token = session.exec(select(AccessToken)).one()
    token.expires_at -= LATER
    session.commit()
    answer = client.get("/home/alerts", headers=PART)
    assert (SESSION_COOKIE in answer.cookies) is is_extended
    assert (expiry(session) > timedelta(hours=2)) is is_extended
    if is_extended:  # not again with each part, but again after a while
        assert SESSION_COOKIE not in client.get("/home/alerts", headers=PART).cookies
        with mock.patch("serving.pages.route.EXTENDED_EVERY_SECONDS", 0.0):
            assert SESSION_COOKIE in client.get("/home/alerts", headers=PART).cookies


def test_a_session_that_has_ended_is_not_extended(
    client: TestClient, key: Callable[..., dict[str, str]], session: Session
) -> None:
    client.post("/api/v1/session", json={"key": key("read")["X-API-Key"]})
    token = session.exec(select(AccessToken)).one()
    token.expires_at = utc_now() - timedelta(seconds=1)
    session.commit()
    led = client.get("/?wall=1", headers=HTML, follow_redirects=False)
    assert led.headers["location"] == "./login?next=%3Fwall%3D1&ended=yes"
    shown = client.get(led.headers["location"].removeprefix("."), headers=HTML).text
    assert "The session has ended" in shown
    assert 'value="?wall=1"' in shown


def test_a_session_is_extended_for_its_own_key_only(key: Callable[..., dict[str, str]], session: Session) -> None:
    settings = mock.Mock(energy_admin_key=None)
    one, other = (
        access.principal_of_key(session, settings, key("read", name=name)["X-API-Key"]) for name in ("one", "other")
    )
    assert one
    assert other
    token = access.issue_token(session, one, "session")
    assert access.extend_session(session, one, token)
    assert not access.extend_session(session, other, token)
