from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest

from orchestration.resources import Platform
from storage.settings import CHECKOUT, Settings


@pytest.fixture
def platform(settings: Settings) -> Platform:
    """The resource; it opens the stores of the test's own platform."""
    return Platform()


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps its storage in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def kept_instance(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of the repository's dagster.yaml, with its storage in PostgreSQL."""
    url = urlsplit(settings.database_url)
    for name, value in (
        ("HOST", url.hostname), ("PORT", url.port), ("USER", url.username), ("PASSWORD", url.password),
        ("DB", url.path[1:]),
    ):  # fmt: skip
        monkeypatch.setenv(f"POSTGRES_{name}", str(value))
    (tmp_path / "dagster.yaml").write_text((CHECKOUT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance
