from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from storage.settings import Settings

# Without a key the API answers by loopback's names alone.
BASE = "http://127.0.0.1"


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The API on a database of its own. Dagster is away: its port is one that nobody listens on."""
    with TestClient(create_app(settings), base_url=BASE, raise_server_exceptions=False) as client:
        yield client
