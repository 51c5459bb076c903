"""Nothing that clients rely on in the API's description is lost or changed; words may change, and more may come.

`openapi_contract.json.gz` is the description that clients were written against. It is never made anew.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import openapi

CONTRACT = Path(__file__).with_name("openapi_contract.json.gz")
# What was taken from clients for the sake of others, and told in docs/operating.md.
TAKEN = ["get /metrics.x-required-role was 'read' and is 'admin'"]  # it shows what all tenants do
# Values that answers did not have before. They come only after a client has sent one of them.
NEW_VALUES = {"outside_forecast", "html"}  # the condition of a rule, the format of a report
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
        if name in ("required", "enum") and isinstance(part, list):
            shape[name] = sorted(part, key=str)
        elif name == "properties":  # a field may have the name of a word, as `title` and `description` have
            shape[name] = {field: _shape(schema, components) for field, schema in part.items()}
        elif name not in WORDS:
            shape[name] = _shape(part, components)
    return shape


def broken(known: Any, now: Any, where: str, *, is_sent: bool) -> Iterator[str]:
    """Where a shape no longer serves a client that knows the old one; `is_sent` of what clients send."""
    if isinstance(known, list) and isinstance(now, list) and len(known) == len(now):
        for i, (old, new) in enumerate(zip(known, now, strict=True)):
            yield from broken(old, new, f"{where}[{i}]", is_sent=is_sent)
    elif isinstance(known, dict) and isinstance(now, dict):
        for name in known.keys() - now.keys():
            yield f"{where}.{name} is gone"
        for name in known.keys() & now.keys():
            if name in ("required", "enum") and isinstance(known[name], list):
                changed = _changed(name, set(known[name]), set(now[name]), is_sent=is_sent)
                yield from (f"{where}.{name}: {item}" for item in sorted(changed))
            else:
                yield from broken(known[name], now[name], f"{where}.{name}", is_sent=is_sent)
        for name in now.keys() - known.keys():
            if name == "required" and is_sent and now[name]:
                yield f"{where} now requires {now[name]}"
    elif known != now:
        yield f"{where} was {known!r} and is {now!r}"


def _changed(name: str, known: set[Any], now: set[Any], *, is_sent: bool) -> set[Any]:
    """The fields or values that break a client: it must send more, may send less, or gets other ones."""
    if name == "required":
        return now - known if is_sent else known - now
    return (known - now) | (set() if is_sent else now - known - NEW_VALUES)


def test_paths_parameters_and_shapes_are_those_that_clients_know() -> None:
    known = contract(json.loads(gzip.decompress(CONTRACT.read_bytes())))
    now = contract(json.loads(openapi.text()))
    assert known.keys() - now.keys() == set()
    taken: list[str] = []
    for where, shape in known.items():
        answers, new_answers = shape.pop("responses"), now[where].pop("responses")
        assert list(broken(answers, new_answers, where, is_sent=False)) == []
        taken += broken(shape, now[where], where, is_sent=True)
        added = now[where]["parameters"].keys() - shape["parameters"].keys()
        assert not any(now[where]["parameters"][name].get("required") for name in added)
    assert taken == TAKEN


def test_what_breaks_a_client_is_seen_and_what_is_added_is_not() -> None:
    known: dict[str, Any] = {"required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "number"}}}
    more = {"required": ["a"], "properties": {**known["properties"], "c": {"type": "string"}}}
    needed = {**known, "required": ["a", "b"]}
    for is_sent in (True, False):
        assert list(broken(known, more, "body", is_sent=is_sent)) == []
        assert list(broken(more, known, "body", is_sent=is_sent)) == ["body.properties.c is gone"]
    assert list(broken(known, needed, "body", is_sent=True)) == ["body.required: b"]
    assert list(broken(needed, known, "body", is_sent=False)) == ["body.required: b"]
    wrong = {**known, "properties": {**known["properties"], "a": {"type": "integer"}}}
    assert list(broken(known, wrong, "body", is_sent=True)) == ["body.properties.a.type was 'string' and is 'integer'"]


def test_a_client_may_send_new_values_but_gets_none_that_it_does_not_know() -> None:
    known, more = {"enum": ["a"]}, {"enum": ["a", "b"]}
    assert list(broken(known, more, "body", is_sent=True)) == []
    assert list(broken(known, more, "body", is_sent=False)) == ["body.enum: b"]
    assert list(broken(more, known, "body", is_sent=True)) == ["body.enum: b"]


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
