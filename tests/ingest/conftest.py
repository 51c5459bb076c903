"""What tests of several parts of ingestion share."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from ingest.devices.registry import Registry
from storage.settings import Settings


@pytest.fixture
def registry(settings: Settings, engine: Engine) -> Iterator[Registry]:
    registry = Registry(settings, engine)
    registry.start()
    yield registry
    registry.stop()
