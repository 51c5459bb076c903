"""The production profile's files, as far as no container is needed to try them."""

import re
import subprocess
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tests.support.environment import variables

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MADE_BY_THE_OPERATOR = {"deploy/mosquitto.passwords"}


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
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    left_out = {path.split("/")[0] for path in listed if is_left_out(path)}
    assert left_out <= {"tests", ".ci"}


def test_every_secret_that_is_asked_for_is_told() -> None:
    text = (ROOT / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    told = (ROOT / "docs" / "operating.md").read_text()
    assert {name for name in asked if name not in told} == set()
