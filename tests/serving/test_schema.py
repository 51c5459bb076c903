"""The API as its OpenAPI description says it is."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import openapi

# Rules between fields (a start before its end, a device that is there) are beyond JSON Schema: a request that fits the
# schema may still be refused with 422.
BEYOND_SCHEMAS = "positive_data_acceptance"


# PUT /api/v1/rules/evaluate is a PUT of the rule "evaluate", which is no UUID; likewise a device "bulk".
BESIDE_IDS = "unsupported_method"


def fuzz(address: str, home: Path, *options: str, **variables: str) -> str:
    """What schemathesis says of the whole description but readiness, which is 503 here: there is no broker.

    With `--max-examples 60` and without `--generation-deterministic`, against a running platform, it takes minutes.
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
        env=os.environ | {"PYTHONWARNINGS": "ignore"} | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def with_a_key(key: Callable[..., dict[str, str]]) -> list[str]:
    """Options. `Authorization` comes before what else may say who asks, all of which schemathesis makes up."""
    header = f"Authorization: Bearer {key('admin')['X-API-Key']}"
    return ["--header", header, "--exclude-checks", f"{BEYOND_SCHEMAS},{BESIDE_IDS}"]


@pytest.mark.slow
def test_with_a_key(server: str, with_a_key: list[str], tmp_path: Path) -> None:
    fuzz(server, tmp_path, *with_a_key, "--max-examples", "3", "--phases", "examples,coverage,fuzzing")


@pytest.mark.slow
def test_sequences_of_requests(server: str, with_a_key: list[str], tmp_path: Path) -> None:
    """What one answers is what the next asks for: make a device, change it, delete it, bring it back."""
    hook = {"SCHEMATHESIS_HOOKS": "tests.support.unowned", "PYTHONPATH": str(openapi.FILE.parents[1])}
    said = fuzz(server, tmp_path, *with_a_key, "--phases", "stateful", "--max-time", "20", **hook)
    followed = re.search(r"API Links: +(\d+) covered", said)
    assert followed, said
    assert int(followed[1]) >= 5, said


@pytest.mark.slow
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
