"""The recipe of docs/api.md, run as it is printed."""

import re
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_the_recipe_runs(client: TestClient, monkeypatch: Any) -> None:
    recipe, jobs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    monkeypatch.setattr("httpx.Client", lambda **_: client)
    names: dict[str, Any] = {"KEY": None}
    exec(recipe, names)
    assert names["items"] == []
    assert client.get("/api/v1/devices/PUMP-1").json()["data"]["device_name"] == "Pump 1"
    exec(recipe, names)
    assert client.get("/api/v1/devices/PUMP-1").json()["data"]["location"] == "Hall 2"
    # No run takes the job here, so it is taken back before somebody waits for it.
    asked = client.post("/api/v1/exports/run", json={"device_id": "PUMP-1"}).json()
    client.post(f"/api/v1/exports/jobs/{asked['job_id']}/cancel")
    post = client.post

    def cancelled(path: str, **options: Any) -> Any:
        answer = post(path, **options)
        post(f"/api/v1/exports/jobs/{answer.json()['job_id']}/cancel")
        return answer

    monkeypatch.setattr(client, "post", cancelled)
    exec(jobs, names)
    assert names["state"]["status"] == "cancelled"
