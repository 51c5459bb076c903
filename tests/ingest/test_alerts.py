import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from sqlalchemy import Engine
from sqlmodel import Session, col, delete, select

from ingest.alerts import AlertRaiser, describe
from ingest.rules import Breach, RuleSet
from storage.rules import Alert, Rule
from storage.telemetry import EPOCH, SECOND, Reading

MINUTE = 60 * SECOND
START = 1_770_000_000 * SECOND


def saved_rule(session: Session, **more: Any) -> Rule:
    rule = Rule(rule_id=uuid4(), rule_name="Hot", scope="all_devices", property="temperature", condition=">",
                threshold=60.0, cooldown_minutes=15)  # fmt: skip
    for name, value in more.items():
        setattr(rule, name, value)
    session.add(rule)
    session.commit()
    session.refresh(rule)
    return rule


def breaches(rule: Rule, minutes: list[int], device_id: str = "D1") -> list[Breach]:
    readings = [
        Reading(device_id=device_id, time=START + m * MINUTE, metrics={"temperature": 65.0 + m}, received_at=0)
        for m in minutes
    ]
    return RuleSet([rule]).evaluate(readings, [None] * len(readings))


def fired_minutes(session: Session, device_id: str = "D1") -> list[int]:
    times = session.exec(
        select(Alert.reading_time).where(Alert.device_id == device_id).order_by(col(Alert.reading_time))
    )
    return [int((time - EPOCH).total_seconds() - START / SECOND) // 60 for time in times]


def test_an_alert_says_what_the_rule_said(session: Session) -> None:
    rule = saved_rule(session, severity="critical")
    (alert,) = AlertRaiser().raise_alerts(session, breaches(rule, [0]))
    session.commit()
    assert alert.message == "Temperature exceeded threshold: 65.0 > 60.0"
    assert (alert.severity, alert.status, alert.actual_value, alert.threshold_value) == ("critical", "open", 65.0, 60.0)
    assert alert.rule["rule_name"] == "Hot"
    session.refresh(rule)
    assert rule.last_triggered_at == alert.reading_time == EPOCH + timedelta(seconds=START / SECOND)


def test_words_for_every_operator() -> None:
    rule = Rule(rule_name="r", scope="all_devices", property="oil_level", threshold=0.1, condition="")
    said = []
    for rule.condition, value in ((">", 1), (">=", 1), ("<", 0), ("<=", 0), ("=", 0.1), ("!=", 1 / 3)):
        reading = Reading(device_id="D", time=0, metrics={"oil_level": value}, received_at=0)
        said += [describe(breach) for breach in RuleSet([rule]).evaluate([reading], [None])]
    assert said == [
        "Oil level exceeded threshold: 1.0 > 0.1",
        "Oil level reached threshold: 1.0 >= 0.1",
        "Oil level fell below threshold: 0.0 < 0.1",
        "Oil level fell to threshold: 0.0 <= 0.1",
        "Oil level equals threshold: 0.1 = 0.1",
        "Oil level differs from threshold: 0.333333 != 0.1",
    ]


def test_cooldown_is_per_device_and_looks_both_ways(session: Session) -> None:
    rule = saved_rule(session)
    raiser = AlertRaiser()
    for minutes in ([20], [21, 34, 35], [5, 6], [36]):
        raiser.remember(raiser.raise_alerts(session, breaches(rule, minutes)))
        session.commit()
    raiser.raise_alerts(session, breaches(rule, [22], "D2"))
    session.commit()
    assert fired_minutes(session) == [5, 20, 35]
    assert fired_minutes(session, "D2") == [22]


def test_the_same_reading_never_alerts_twice(session: Session) -> None:
    rule = saved_rule(session, cooldown_minutes=0)
    for raiser in (AlertRaiser(), AlertRaiser()):
        raiser.raise_alerts(session, breaches(rule, [1, 2]))
        session.commit()
    assert fired_minutes(session) == [1, 2]


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 120), min_size=1, max_size=10), min_size=1, max_size=5), st.integers(0, 30))
def test_whatever_the_order_of_arrival_alerts_keep_their_distance(
    session: Session, batches: list[list[int]], cooldown: int
) -> None:
    session.exec(delete(Alert))
    rule = saved_rule(session, cooldown_minutes=cooldown)
    for minutes in batches:
        AlertRaiser().raise_alerts(session, breaches(rule, minutes))
        session.commit()
    fired = fired_minutes(session)
    every = {m for minutes in batches for m in minutes}
    assert all(later - earlier >= max(cooldown, 1) for earlier, later in pairwise(fired))
    assert all(any(abs(m - f) < max(cooldown, 1) for f in fired) for m in every)


def test_one_alert_per_breach_with_racing_ingesters(session: Session, engine: Engine) -> None:
    rules = [saved_rule(session) for _ in range(5)]
    batch = [b for rule in rules for device in ("D1", "D2", "D3") for b in breaches(rule, [0, 1, 2], device)]

    def ingester(seed: int) -> int:
        mine = random.Random(seed).sample(batch, len(batch))
        with Session(engine) as own:
            alerts = AlertRaiser().raise_alerts(own, mine)
            own.commit()
            return len(alerts)

    with ThreadPoolExecutor(4) as pool:
        raised = list(pool.map(ingester, range(8)))
    assert sum(raised) == 15
    assert len(session.exec(select(Alert)).all()) == 15
