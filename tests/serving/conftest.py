import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from serving.app import create_app
from storage import access
from storage.access import Role
from storage.settings import Settings
from tests.support.servers import free_port, started

# Without a key the API answers by loopback's names alone.
BASE = "http://127.0.0.1"


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The API on a database of its own. Dagster is away: its port is one that nobody listens on."""
    with TestClient(create_app(settings), base_url=BASE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def key(session: Session) -> Callable[..., dict[str, str]]:
    """Makes a key and answers the header that carries it."""

    def make(role: Role, tenant_id: str | None = None, name: str | None = None) -> dict[str, str]:
        secret = access.create_key(session, name or f"{role} of {tenant_id}", role, tenant_id)
        session.commit()
        return {"X-API-Key": secret}

    return make


@pytest.fixture
def server(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the API as a process of its own."""
    port = free_port()
    monkeypatch.setenv("API_PORT", str(port))
    monkeypatch.setenv("API_RATE_LIMIT", "0")
    address = f"http://127.0.0.1:{port}"
    with started(
        [sys.executable, "-m", "serving"],
        lambda: httpx.get(f"{address}/health", timeout=2).raise_for_status(),
        tmp_path / "api.log",
    ):
        yield address
