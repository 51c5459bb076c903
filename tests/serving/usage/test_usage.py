from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from assets.datasets import export_day
from serving.app import create_app
from storage.settings import Settings
from storage.stores import Stores
from tests.serving.conftest import BASE
from tests.support.plant import DAY, reading, store

Key = Callable[..., dict[str, str]]


def test_sizes_of_what_is_kept(stores: Stores, settings: Settings, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_RETENTION_DAYS", "400")
    store(stores, *(reading(minute) for minute in range(10)))
    export_day(stores, "D1", DAY)
    admin = key("admin")
    with TestClient(create_app(Settings.load()), base_url=BASE) as client:
        data: dict[str, Any] = client.get("/api/v1/usage", headers=admin).json()["data"]
        for other in (key("operate"), key("admin", "acme")):
            assert client.get("/api/v1/usage", headers=other).status_code == 403
    sizes = {table["name"]: table["bytes"] for table in data["tables"]}
    assert sizes["device_telemetry"] > 8192
    assert data["database_bytes"] > sum(sizes.values())
    days = next(files for files in data["files"] if files["kind"] == "datasets: day")
    assert (days["files"], days["oldest"], days["newest"]) == (1, str(DAY), str(DAY))
    assert days["bytes"] > 0
    assert {r["variable"]: r["days"] for r in data["retention"]} == {
        "TELEMETRY_RETENTION_DAYS": None, "DATASET_RETENTION_DAYS": 400, "RUN_RETENTION_DAYS": 14,
    }  # fmt: skip
    assert data["telemetry_store"] == "postgresql"
