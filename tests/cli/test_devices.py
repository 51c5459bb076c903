import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli.main import app
from storage.settings import Settings
from tests.support.servers import free_port, started


def test_import_a_file(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("API_PORT", str(port))
    monkeypatch.setenv("ENERGY_ADMIN_KEY", "a-long-enough-secret")
    file = tmp_path / "devices.csv"
    file.write_text(
        "device_id,device_name,device_type,location,metadata_json\n"
        'D1,"Pump, red",pump,Hall 1,"{""timezone"": ""Europe/Paris""}"\n'
        "D2,Motor,motor,,\n"
        "D 3,Fan,fan,,\n"
    )
    run = CliRunner()
    assert "does not answer" in run.invoke(app, ["devices", "import", str(file)]).stderr
    address = f"http://127.0.0.1:{port}"
    with started(
        [sys.executable, "-m", "serving"],
        lambda: httpx.get(f"{address}/health", timeout=2).raise_for_status(),
        tmp_path / "api.log",
    ):
        first = run.invoke(app, ["devices", "import", str(file)])
        assert first.exit_code == 1
        assert first.stdout.strip() == "2 created, 0 updated, 0 unchanged, 1 failed"
        assert f"{file}:4: device_id: " in first.stderr
        file.write_text("device_id,location\nD1,Hall 2\nD2,\n")
        again = run.invoke(app, ["devices", "import", str(file), "--url", address])
        assert (again.exit_code, again.stdout.strip()) == (0, "0 created, 1 updated, 1 unchanged, 0 failed")
        device = httpx.get(f"{address}/api/v1/devices/D1", headers={"X-API-Key": "a-long-enough-secret"}).json()["data"]
        assert (device["device_name"], device["location"]) == ("Pump, red", "Hall 2")
        wrong = run.invoke(app, ["devices", "import", str(file), "--key", "ek_wrong"])
        assert (wrong.exit_code, "unknown, revoked" in wrong.stderr) == (1, True)
    for content in ("device_id,colour\nD1,red\n", "device_id\nD1,2\n", "", 'device_id\n"D1'):
        file.write_text(content)
        assert run.invoke(app, ["devices", "import", str(file)]).exit_code == 2, content
    file.write_bytes(b"device_id\n\xff\n")
    assert run.invoke(app, ["devices", "import", str(file)]).exit_code == 2
