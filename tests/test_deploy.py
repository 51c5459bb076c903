"""The production profile's files, as far as no container is needed to try them."""

import gzip
import json
import re
import ssl
import subprocess
import sys
from fnmatch import fnmatch
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml

from cli.local import probes
from serving.settings import ApiSettings
from storage.settings import Settings, SettingsError
from tests.support.environment import variables
from tests.support.servers import started

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MADE_BY_THE_OPERATOR = {"deploy/mosquitto.passwords", "deploy/tls"}


def test_what_is_mounted_and_started_is_there() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            text = volume["source"] if isinstance(volume, dict) else volume
            source = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text).split(":")[0]  # as if no variable were set
            if source.startswith("./"):
                path = source.removeprefix("./")
                assert path in MADE_BY_THE_OPERATOR or (ROOT / path).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
        command = service.get("command", [])
        if command[:2] == ["python", "-m"]:
            assert find_spec(command[2]), f"{name}: {command}"
        for needed in service.get("depends_on", {}):
            assert needed in SERVICES, f"{name}: {needed}"


def test_it_keeps_to_the_schema_of_compose() -> None:
    """The schema is compose-spec's own, `schema/compose-spec.json` of github.com/compose-spec/compose-spec."""
    schema = json.loads(gzip.decompress((ROOT / "tests/support/compose_spec.json.gz").read_bytes()))
    jsonschema_rs.validator_for(schema).validate(COMPOSE)
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validator_for(schema).validate({"services": {"api": {"portz": []}}})


def test_nobody_gains_rights_or_takes_everything() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert "cap_add" not in service or service["image"].startswith(("postgres", "influxdb", "eclipse-mosquitto")), (
            name
        )


def test_networks_keep_apart_what_need_not_talk() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    internal = {name for name, options in COMPOSE["networks"].items() if options and options.get("internal")}
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    # Dagster's webserver on loopback, the API, the devices' doors of the broker, and downloads.
    assert published.keys() == {"dagster-webserver", "api", "mosquitto", "s3"}
    assert published["dagster-webserver"] == ["127.0.0.1:3000:3000"]
    assert not any(port.endswith(":1884") for port in published["mosquitto"])
    for name, on in networks.items():
        assert (on - internal == {"published"}) == (name in published) or name == "ingest", name
    assert networks["ingest"] - internal == {"outside"}  # it sends notifications
    assert {name for name, on in networks.items() if "dagster" in on} == {
        "dagster-code", "dagster-webserver", "dagster-daemon"
    }  # fmt: skip
    reach_the_code_server = {name for name, on in networks.items() if on & networks["dagster-code"]}
    assert reach_the_code_server == {
        "dagster-code", "dagster-webserver", "dagster-daemon", "postgres", "influxdb", "s3"
    }  # fmt: skip
    assert networks["api"] & networks["dagster-webserver"] == {"launching", "published"}


def test_notifications_and_tls_reach_who_needs_them() -> None:
    assert SERVICES["ingest"]["env_file"] == SERVICES["api"]["env_file"] == [{"path": "notify.env", "required": False}]
    told = (ROOT / "docs" / "operating.md").read_text()
    used = set(re.findall(r"\$\{([A-Z_]+):-", (ROOT / "compose.yaml").read_text()))
    assert {name for name in used if name not in told} == set()


def make_certificate(folder: Path) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-keyout", "server.key", "-out", "server.crt"]  # fmt: skip
    subprocess.run(make, cwd=folder, check=True, capture_output=True)


@pytest.mark.slow
def test_the_api_speaks_https(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_certificate(tmp_path)
    monkeypatch.setenv("API_TLS_CERT", str(tmp_path / "server.crt"))
    with pytest.raises(SettingsError, match="belong together"):
        ApiSettings.load()
    monkeypatch.setenv("API_TLS_KEY", str(tmp_path / "server.key"))
    trusted = ssl.create_default_context(cafile=str(tmp_path / "server.crt"))
    address = f"https://localhost:{settings.api_port}/health"
    ready = partial(httpx.get, address, verify=trusted, timeout=2)
    with started([sys.executable, "-m", "serving"], lambda: ready().is_success, tmp_path / "api.log"):
        assert ready().json()["status"] == "healthy"
        probes.ask(address, 0)  # as the supervisor asks


def test_the_platforms_variables_are_known() -> None:
    known = variables()
    for name, service in SERVICES.items():
        if service.get("image") == "energy-platform":
            theirs = {v for v in service["environment"] if not v.startswith(("AWS_", "DAGSTER_CODE_"))}
            assert theirs - known == set(), name


def test_the_image_holds_no_secret_and_all_of_the_code() -> None:
    """Docker reads the patterns from the top folder, `**` included; none here takes back another."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line.rstrip("/") for line in lines if line and not line.startswith("#")]
    assert not [pattern for pattern in patterns if pattern.startswith("!")]

    def is_left_out(path: str) -> bool:
        parents = ["/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 2)]
        names = [pattern.removeprefix("**/") for pattern in patterns if pattern.startswith("**/")]
        return any(fnmatch(part, pattern) for part in parents for pattern in patterns) or any(
            fnmatch(part, name) for part in path.split("/") for name in names
        )

    secrets = (".env", ".env.production", "deploy/mosquitto.passwords", "deploy/tls/server.key", ".energy/link-secret",
               ".git/config", ".venv/bin/python", "deploy/other.pem")  # fmt: skip
    assert [path for path in secrets if not is_left_out(path)] == []
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    left_out = {path.split("/")[0] for path in tracked if is_left_out(path)}
    assert left_out <= {"tests", ".ci"}


def test_every_secret_that_is_asked_for_is_told() -> None:
    text = (ROOT / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    told = (ROOT / "docs" / "operating.md").read_text()
    assert {name for name in asked if name not in told} == set()
