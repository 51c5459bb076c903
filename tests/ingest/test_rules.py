import math
import operator
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, strategies as st

from ingest import rules as evaluation
from ingest.rules import RuleSet
from storage.rules import OPERATORS, Rule
from storage.telemetry import Reading


def equal(value: float, threshold: float) -> bool:
    return math.isclose(value, threshold, rel_tol=1e-9)


PLAIN: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    "=": equal,
    "!=": lambda value, threshold: not equal(value, threshold),
    ">=": lambda value, threshold: value > threshold or equal(value, threshold),
    "<=": lambda value, threshold: value < threshold or equal(value, threshold),
}


def rule(condition: str = ">", threshold: float = 60.0, metric: str = "temperature", **more: Any) -> Rule:
    values: dict[str, Any] = {
        "rule_name": "r",
        "scope": "all_devices",
        "property": metric,
        "condition": condition,
        "threshold": threshold,
    }
    return Rule(rule_id=uuid4(), **{**values, **more})


def reading(device_id: str = "D1", time: int = 0, **metrics: float) -> Reading:
    return Reading(device_id=device_id, time=time, metrics=metrics, received_at=0)


def fired(rules: list[Rule], readings: list[Reading], tenants: list[str | None] | None = None) -> set[tuple[int, int]]:
    breaches = RuleSet(rules).evaluate(readings, tenants or [None] * len(readings))
    positions = {r.rule_id: i for i, r in enumerate(rules)}
    return {(positions[b.rule.rule_id], readings.index(b.reading)) for b in breaches}


@pytest.mark.parametrize(
    ("condition", "met"),
    [(">", {2}), ("<", {0}), ("=", {1}), ("!=", {0, 2}), (">=", {1, 2}), ("<=", {0, 1})],
)
def test_operators(condition: str, met: set[int]) -> None:
    readings = [reading(temperature=59.0), reading(time=1, temperature=60.0), reading(time=2, temperature=61.0)]
    assert {row for _, row in fired([rule(condition)], readings)} == met


def test_equality_forgives_rounding() -> None:
    assert fired([rule("=", 0.3)], [reading(temperature=0.1 + 0.2)])
    assert not fired([rule("!=", 0.3)], [reading(temperature=0.1 + 0.2)])


def test_a_metric_that_is_not_carried_does_not_fire() -> None:
    every = [rule(condition, 0.0, "vibration") for condition in OPERATORS]
    assert not fired(every, [reading(temperature=1.0)])
    assert fired(every, [reading(temperature=1.0), reading(time=1, vibration=1.0)]) == {(0, 1), (3, 1), (4, 1)}


def test_scope_and_tenants() -> None:
    rules = [
        rule(),
        rule(scope="selected_devices", device_ids=["D2"]),
        rule(tenant_id="a"),
        rule(tenant_id="a", scope="selected_devices", device_ids=["D1", "D2"]),
    ]
    readings = [reading("D1", temperature=70), reading("D2", temperature=70), reading("D3", temperature=70)]
    assert fired(rules, readings, ["a", "b", None]) == {(0, 0), (0, 1), (0, 2), (1, 1), (2, 0), (3, 0)}


def test_many_metrics_are_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MAX_CELLS", 6)
    readings = [reading(time=i, a=float(i), b=1.0, c=1.0) for i in range(10)]
    assert fired([rule(">", 6.5, "a"), rule(">", 2, "b"), rule(">", 2, "c")], readings) == {(0, 7), (0, 8), (0, 9)}


values = st.floats(allow_nan=False, allow_infinity=False)
metrics = st.sampled_from("abc")


@given(
    rules=st.lists(
        st.tuples(st.sampled_from(OPERATORS), values, st.sampled_from("abc"), st.sampled_from(["", "D1", "D2"]))
    ),
    readings=st.lists(st.tuples(st.sampled_from(["D1", "D2", "D3"]), st.dictionaries(st.sampled_from("abc"), values))),
)
def test_the_batch_agrees_with_one_by_one(
    rules: list[tuple[str, float, str, str]], readings: list[tuple[str, dict[str, float]]]
) -> None:
    made = [
        rule(c, t, m, scope="selected_devices" if d else "all_devices", device_ids=[d] if d else [])
        for c, t, m, d in rules
    ]
    came = [reading(device_id, i, **metrics) for i, (device_id, metrics) in enumerate(readings)]
    expected = {
        (i, j)
        for i, (condition, threshold, metric, device) in enumerate(rules)
        for j, (device_id, metrics) in enumerate(readings)
        if device in ("", device_id) and metric in metrics and PLAIN[condition](metrics[metric], threshold)
    }
    assert fired(made, came) == expected
