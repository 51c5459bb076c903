"""The API as its OpenAPI description says it is."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import openapi

# Rules between fields (a start before its end, a device that is there) are beyond JSON Schema: a request that fits the
# schema may still be refused with 422.
BEYOND_SCHEMAS = "positive_data_acceptance"


def fuzz(address: str, home: Path, *options: str) -> None:
    """schemathesis over the whole description but readiness, which says 503 here: there is no broker.

    `st run http://127.0.0.1:8000/openapi.json --max-examples 500` against a running platform is the long version.
    """
    program = Path(sys.executable).with_name("st")
    command: list[str | Path] = [
        program,
        "run",
        f"{address}/openapi.json",
        "--exclude-path-regex",
        "ready$",
        "--no-color",
        "--workers",
        "1",  # two at once meet a fault of CPython 3.11's AST ("recursion depth mismatch")
    ]
    common = ["--generation-deterministic", "--suppress-health-check", "all", "--warnings", "off"]
    done = subprocess.run(
        [*command, *common, *options], cwd=home, capture_output=True, text=True, check=False, timeout=240,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]


def test_with_a_key(server: str, key: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    header = f"X-API-Key: {key('admin')['X-API-Key']}"
    # PUT /api/v1/rules/evaluate is a PUT of the rule "evaluate", which is no UUID; likewise a device "bulk".
    excluded = f"{BEYOND_SCHEMAS},unsupported_method"
    fuzz(server, tmp_path, "--header", header, "--exclude-checks", excluded, "--max-examples", "3")


def test_without_a_key_where_one_is_needed(server: str, key: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    key("admin")
    fuzz(server, tmp_path, "--exclude-checks", BEYOND_SCHEMAS, "--max-examples", "2", "--phases", "fuzzing")


def test_the_committed_description_is_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert openapi.FILE.read_text() == openapi.text(), "run `python -m serving.openapi`, and look at what changed"


def test_every_operation_is_described() -> None:
    document = json.loads(openapi.text())
    tags = {tag["name"] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["tags"][0] in tags, where
            assert len(operation["description"]) > 8, where
            assert "503" in operation["responses"], where
            if operation.get("security"):
                assert {"401", "403", "429"} <= operation["responses"].keys(), where
            if "requestBody" in operation or operation.get("parameters"):
                content = operation["responses"]["422"]["content"]
                assert list(content) == ["application/problem+json"], where
