"""What clients rely on in the API's description has not changed; only its words and the names of its parts may."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from serving import openapi

CONTRACT = Path(__file__).with_name("openapi_contract.json.gz")
WORDS = frozenset(["title", "description", "summary", "operationId", "example", "examples"])


def contract(document: dict[str, Any]) -> dict[str, Any]:
    """Each operation without its words, by method and path: parameters, bodies, answers, security."""
    components = document["components"]["schemas"]
    shapes = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            shape = _shape(operation, components)
            parameters = {(p["in"], p["name"]): p for p in shape.pop("parameters", [])}
            assert len(parameters) == len(operation.get("parameters", []))
            shapes[f"{method} {path}"] = {**shape, "parameters": parameters}
    return shapes


def _shape(node: Any, components: dict[str, Any]) -> Any:
    """The node with each `$ref` replaced by what it names, without words, with the order of names left out."""
    if isinstance(node, list):
        return [_shape(part, components) for part in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _shape(components[node["$ref"].rsplit("/", 1)[-1]], components)
    shape: dict[str, Any] = {}
    for name, part in node.items():
        if name == "required" and isinstance(part, list):
            shape[name] = sorted(part)
        elif name == "properties":  # a field may have the name of a word, as `title` and `description` have
            shape[name] = {field: _shape(schema, components) for field, schema in part.items()}
        elif name not in WORDS:
            shape[name] = _shape(part, components)
    return shape


def test_paths_parameters_and_shapes_are_those_that_clients_know() -> None:
    known = contract(json.loads(gzip.decompress(CONTRACT.read_bytes())))
    now = contract(json.loads(openapi.text()))
    assert now.keys() == known.keys()
    for where, shape in known.items():
        assert now[where] == shape, where


@pytest.mark.parametrize(
    "change",
    [
        {"required": ["b"]},
        {"properties": {"title": {"type": "integer"}}},
        {"properties": {}},
    ],
)
def test_a_change_of_a_shape_is_seen_and_a_change_of_words_is_not(change: dict[str, Any]) -> None:
    schema = {"type": "object", "title": "A", "required": ["a"], "properties": {"title": {"type": "string"}}}
    renamed = {"$ref": "#/components/schemas/B"}
    assert _shape(renamed, {"B": schema | {"title": "B", "description": "other words"}}) == _shape(schema, {})
    assert _shape(schema | change, {}) != _shape(schema, {})
