"""Every answer to a wrong request is in plain words, whatever the route: none of Pydantic's or Python's."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient
from pydantic_core.core_schema import ErrorType

from assets.analyses import ANALYSES
from serving import openapi
from storage.devices import DeviceMetadata
from storage.validation import sentence, shown

JARGON = re.compile(
    r"[Ii]nput should|Value error|Field required|valid (dictionary|integer|number|string|boolean|list|tuple)|isoformat"
    r"|int_max_str|[Uu]nable to (parse|interpret)|\[type=|pydantic|Traceback|literal\[|function-|NoneType"
    r"|\b(True|False|None)\b|should (have|match|be)|not permitted|\bdict\b|\bstr\b|Expecting"
    r"|codec|\bUUID\b|constrained|nullable|\[key\]"
)
WRONG: list[Any] = [None, True, "", "x", " ", "x" * 6000, "\0", -1, 1.5, 10**30, 10**400, [], {}, [None],
         ["", "a b"], [[1]], {"a": 1}, {"A b": {"c": []}}, "2026-02-30", "2026-02-12T10:00:00", "2026-02-30T25:00:00Z",
         "0001-01-01T00:00:00Z"]  # fmt: skip
QUERIES = ["", "x", "%20", "%00", "-1", "1.5", "9" * 30, "9" * 5000, "true", "null", "%ED%A0%80", "2026-02-12",
           "2026-02-30T25:00:00Z", "2026-02-12T10:00:00", "a b", "x" * 3000]  # fmt: skip
DOCUMENT = json.loads(openapi.text())
VALID: dict[str, Any] = {
    "device_id": "D1", "device_name": "n", "device_type": "t", "rule_name": "r", "device_ids": ["D1"],
    "property": "power", "condition": ">", "threshold": 1,
    "from": "2026-02-12T10:00:00Z", "to": "2026-02-13T10:00:00Z", "key": "k",
    "status": "active", "analysis_type": "anomaly", "date_range_start": "2026-02-12T10:00:00Z",
    "date_range_end": "2026-02-13T10:00:00Z", "timestamp": "2026-02-12T10:00:00Z", "power": 1, "devices": [{}],
    "field": "power", "op": ">", "value": 1,
}  # fmt: skip


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if "/files/" not in path and path != "/metrics"
    ]


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The schema behind references, of several the first that is no null."""
    while True:
        if "$ref" in schema:
            part: Any = document
            for name in schema["$ref"].removeprefix("#/").split("/"):
                part = part[name]
            schema = part
        elif "anyOf" in schema:
            schema = next(s for s in schema["anyOf"] if s.get("type") != "null")
        else:
            return schema


def mutations(schema: dict[str, Any], document: dict[str, Any], depth: int = 0) -> Iterator[Any]:
    """Values that are wrong where the schema stands, and valid objects with one wrong value each."""
    yield from WRONG
    schema = resolved(schema, document)
    if depth > 3:
        return
    if schema.get("type") == "array":
        yield from ([value] for value in mutations(schema["items"], document, depth + 1))
    if isinstance(schema.get("additionalProperties"), dict):
        for value in mutations(schema["additionalProperties"], document, depth + 1):
            yield {"power": value}
    properties = schema.get("properties", {})
    base = {name: VALID[name] for name in properties if name in VALID}
    for name, part in properties.items():
        yield {n: value for n, value in base.items() if n != name}
        for value in mutations(part, document, depth + 1):
            yield {**base, name: value}
    if properties:
        yield {**base, "nonsense": 1}


def check(answer: Any, sent: str) -> None:
    assert answer.status_code < 500 or answer.status_code == 503, (sent, answer.text)
    if answer.status_code >= 400 and "json" in answer.headers.get("content-type", ""):
        body = answer.json()
        said = [body["detail"], *(text for error in body["errors"] for text in (error["field"], error["message"]))]
        # What was sent may be repeated, in quotes.
        plain = [re.sub(r'"(?:[^"\\]|\\.)*("|…)', '""', text) for text in said]
        assert not any(JARGON.search(text) for text in plain), (sent, said)
        assert all(text.strip() for text in said), (sent, said)


def send(client: TestClient, method: str, path: str, body: Any) -> None:
    content = json.dumps(body)
    headers = {"Content-Type": "application/json"}
    answer = client.request(method, path, content=content, headers=headers)
    check(answer, f"{method} {path} {content[:300]}")


@pytest.mark.slow
def test_bodies(client: TestClient) -> None:
    tried = 0
    for method, path, operation in operations():
        if "requestBody" not in operation:
            continue
        url = re.sub(r"\{\w*device\w*\}", "D1", path)
        url = re.sub(r"\{(\w+)\}", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", url)
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        for body in mutations(schema, DOCUMENT):
            send(client, method, url, body)
            tried += 1
        for raw in (b"", b"{", b'{"a": }', b'{"a": ' + b"9" * 5000 + b"}", b"\xff\xfe", b"[" * 100_000):
            answer = client.request(method, url, content=raw, headers={"Content-Type": "application/json"})
            check(answer, f"{method} {url} {raw[:50]!r}")
    assert tried > 3000


@pytest.mark.slow
def test_queries_and_paths(client: TestClient) -> None:
    for method, path, operation in operations():
        url = re.sub(r"\{\w+\}", "D1", path)
        for parameter in operation.get("parameters", ()):
            for value in QUERIES:
                if parameter["in"] == "path" and value:
                    answer = client.request(method, path.replace(f"{{{parameter['name']}}}", value))
                elif parameter["in"] == "query":
                    answer = client.request(method, f"{url}?{parameter['name']}={value}")
                else:
                    continue
                check(answer, f"{method} {url} {parameter['name']}={value[:50]}")


@pytest.mark.slow
def test_metadata_and_parameters_of_analyses(client: TestClient) -> None:
    schema = DeviceMetadata.model_json_schema()
    device = {"device_id": "D1", "device_name": "n", "device_type": "t"}
    assert client.post("/api/v1/devices", json=device).status_code == 201
    for metadata in mutations(schema, schema):
        send(client, "PATCH", "/api/v1/devices/D1", {"metadata_json": metadata})
    for analysis_type, analysis in ANALYSES.items():
        schema = analysis.parameters.model_json_schema()
        for parameters in mutations(schema, schema):
            body = {"device_id": "D1", "analysis_type": analysis_type, "parameters": parameters}
            send(client, "POST", "/api/v1/analytics/run", body)


def test_every_pattern_of_the_description_has_a_sentence() -> None:
    patterns = set(re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(DOCUMENT)))
    for escaped in patterns:
        error = {"type": "string_pattern_mismatch", "input": "é", "ctx": {"pattern": json.loads(f'"{escaped}"')}}
        assert "must match" not in sentence(error)
    assert len(patterns) >= 6


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_every_kind_of_error_has_plain_words(kind: str) -> None:
    context: dict[str, Any] = {"expected": "'a' or 'b'", "pattern": "^x$", "actual_length": 3}
    context |= dict.fromkeys(("min_length", "max_length", "gt", "ge", "lt", "le", "multiple_of"), 2)
    error = {"type": kind, "input": "abc", "ctx": context, "msg": "Value error, is wrong; leave it out"}
    assert not JARGON.search(re.sub('"abc"', "", sentence(error)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Lüfter 3", '"Lüfter 3"'),
        ("温度", '"温度"'),
        ("a\x00\x7f\u202e\ud800", r'"a\u0000\u007f\u202e\ud800"'),
        ({"größe": ["½"]}, '{"größe": ["½"]}'),
        ("ü" * 100, '"' + "ü" * 58 + "…"),
        ("\u202e" * 100, '"' + r"\u202e" * 9 + r"\u20…"),
    ],
)
def test_a_value_is_shown_as_it_was_written_unless_nobody_could_see_it(value: Any, text: str) -> None:
    assert shown(value) == text
    shown(value).encode()
