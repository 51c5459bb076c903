from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from serving.app import create_app
from storage.settings import Settings
from tests.serving.conftest import BASE
from tests.support.tenants import add_tenant


@pytest.fixture
def alpha(settings: Settings, session: Session) -> None:
    """A tenant that has one of everything; each row says `SECRET` or holds `NUMBER`."""
    add_tenant(settings, session)


@pytest.fixture
def api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("API_RATE_LIMIT", "0")
    app = create_app(Settings.load())
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield client
