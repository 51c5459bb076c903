import math
import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from ingest.devices.profile import DeviceProfile
from ingest.rules import evaluate as evaluation
from ingest.rules.evaluate import evaluate_readings
from ingest.rules.rule_set import RuleSet
from storage.comparison import OPERATORS
from storage.rules import Rule
from storage.telemetry import Reading
from storage.times import SECOND, microseconds


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
    profiles = [DeviceProfile(tenant_id=tenant) for tenant in tenants or [None] * len(readings)]
    breaches = evaluate_readings(RuleSet.of(rules), readings, profiles).breaches
    positions = {r.rule_id: i for i, r in enumerate(rules)}
    times = [(r.device_id, r.time) for r in readings]
    return {(positions[b.rule.rule_id], times.index((b.device_id, b.time))) for b in breaches}


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


def weekly(days: list[int], since: str, until: str) -> dict[str, object]:
    return {"days": days, "from": since, "to": until}


@pytest.mark.parametrize(
    ("hours", "moments"),
    [
        (weekly([0, 1, 2, 3, 4], "06:00", "18:00"), {"Mon 06:00", "Mon 17:59", "Fri 12:00"}),
        (weekly([5, 6], "00:00", "24:00"), {"Sat 00:00", "Sun 23:59"}),
        (weekly([4], "22:00", "06:00"), {"Fri 22:00", "Sat 05:59"}),
        (weekly([6], "22:00", "06:00"), {"Sun 23:59", "Mon 05:59"}),
    ],
)
def test_active_hours_are_the_devices_own(hours: dict[str, object], moments: set[str]) -> None:
    zone = ZoneInfo("Europe/Paris")
    monday = datetime(2026, 3, 23, tzinfo=zone)  # the week in which summer time begins
    asked = {
        f"{day:%a %H:%M}": day.astimezone(UTC)
        for d in range(7)
        for h, m in ((0, 0), (5, 59), (6, 0), (12, 0), (17, 59), (18, 0), (22, 0), (23, 59))
        for day in [monday + timedelta(days=d, hours=h, minutes=m)]
    }
    readings = [reading(time=microseconds(at), temperature=70.0) for at in asked.values()]
    rules = RuleSet.of([rule(active_hours=hours)])
    breaches = evaluate_readings(rules, readings, [DeviceProfile(zone=zone)] * len(readings)).breaches
    names = {microseconds(at): name for name, at in asked.items()}
    found = {names[b.time] for b in breaches}
    assert moments <= found
    plain = {name for name, at in asked.items() if in_words(hours, at.astimezone(zone))}
    assert found == plain
    assert all(rules.rules[0].is_active(microseconds(at), zone) == (name in plain) for name, at in asked.items())


def in_words(hours: dict[str, Any], local: datetime) -> bool:
    time, day = f"{local:%H:%M}", local.weekday()
    if hours["from"] < hours["to"]:
        return day in hours["days"] and hours["from"] <= time < hours["to"]
    return (day in hours["days"] and time >= hours["from"]) or ((day - 1) % 7 in hours["days"] and time < hours["to"])


def test_zones_of_one_batch_do_not_mix() -> None:
    at = microseconds(datetime(2026, 1, 5, 12, tzinfo=UTC))  # Monday: 13:00 in Paris, 07:00 in New York
    readings = [reading("paris", at, temperature=70), reading("york", at, temperature=70)]
    profiles = [DeviceProfile(zone=ZoneInfo("Europe/Paris")), DeviceProfile(zone=ZoneInfo("America/New_York"))]
    made = rule(active_hours=weekly([0], "08:00", "18:00"))
    assert [b.device_id for b in evaluate_readings(RuleSet.of([made]), readings, profiles).breaches] == ["paris"]


def test_what_fired_is_left_out_until_its_cooldown_is_over() -> None:
    rules = RuleSet.of([rule(cooldown_minutes=1)])
    minute = 60 * SECOND
    (first,) = evaluate_readings(rules, [reading(time=minute, temperature=70)], [DeviceProfile()]).breaches
    rules.remember(first, first.time, suppressed=False)
    later = [reading(time=t, temperature=70) for t in (1, minute, 2 * minute - 1, 2 * minute)]
    other = reading("D2", minute, temperature=70)
    profiles = [DeviceProfile()] * 5
    found = evaluate_readings(rules, [*later, other], profiles).breaches
    assert [(b.device_id, b.time) for b in found] == [("D1", 2 * minute), ("D2", minute)]


def test_breaches_in_a_cooldown_that_maintenance_suppressed_are_left_out_only_while_it_lasts() -> None:
    rules = RuleSet.of([rule(cooldown_minutes=1)])
    working = DeviceProfile(status="maintenance")
    (first,) = evaluate_readings(rules, [reading(time=1, temperature=70)], [working]).breaches
    assert first.in_maintenance
    rules.remember(first, first.time, suppressed=True)
    assert not evaluate_readings(rules, [reading(time=2, temperature=70)], [working]).breaches
    (after,) = evaluate_readings(rules, [reading(time=2, temperature=70)], [DeviceProfile()]).breaches
    assert not after.in_maintenance


def test_rules_that_wait_are_no_breaches_yet() -> None:
    rules = [rule(), rule(for_seconds=60), rule(metric="vibration", for_seconds=60)]
    readings = [reading(time=1, temperature=70), reading(time=0, temperature=50)]
    evaluated = evaluate_readings(RuleSet.of(rules), readings, [DeviceProfile()] * 2)
    assert [b.rule.rule_id for b in evaluated.breaches] == [rules[0].rule_id]
    assert evaluated.pending
    assert evaluated.pending.times.tolist() == [0, 1]
    assert evaluated.pending.met.tolist() == evaluated.pending.allowed.tolist() == [False, True]
