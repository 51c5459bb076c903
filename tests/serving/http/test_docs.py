"""What `docs/api.md` shows is run as it stands there."""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from storage.settings import CHECKOUT, Settings
from storage.stores import open_telemetry_store
from storage.telemetry import Reading
from storage.times import SECOND, microseconds


def test_the_recipe_in_python(
    server: str, settings: Settings, key: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = microseconds(datetime(2026, 2, 12, tzinfo=UTC))
    store = open_telemetry_store(settings)
    metrics = {"power": 1.0, "voltage": 230.0}
    store.write(
        [Reading(device_id="D1", time=start + i * SECOND, metrics=metrics, received_at=start) for i in range(2500)]
    )
    store.close()
    recipe = re.search(r"```python\n(.*?)```", (CHECKOUT / "docs" / "api.md").read_text(), re.DOTALL)
    assert recipe
    monkeypatch.setenv("ENERGY_URL", server)
    monkeypatch.setenv("ENERGY_API_KEY", key("read")["X-API-Key"])
    for code in (recipe[1], recipe[1].replace('fields="', 'limit="1000", fields="')):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout == "2500 readings\n", done.stderr


@pytest.mark.parametrize("prefix", ["", "/backend/data"])
def test_the_page_needs_no_other_host_and_no_key(client: TestClient, key: Callable[..., object], prefix: str) -> None:
    key("read")
    page = client.get(f"{prefix}/docs")
    assert page.status_code == 200
    addresses = re.findall(r"""(?:src|href|url)[=:] *["']([^"']+)["']""", page.text)
    assert {address.rsplit("/", 1)[-1] for address in addresses} == {
        "swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "openapi.json"
    }  # fmt: skip
    for address in addresses:
        assert address.startswith(f"{prefix}/")
        assert client.get(address).status_code == 200, address
    assert "//" not in re.sub(r"<!--.*?-->", "", page.text).replace("</", "")
