"""The production profile's files, as far as no container is needed to try them."""

import re
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
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
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


def test_every_secret_that_is_asked_for_is_told() -> None:
    text = (ROOT / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    told = (ROOT / "docs" / "operating.md").read_text()
    assert {name for name in asked if name not in told} == set()
