import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import numpy as np
from hypothesis import HealthCheck, example, given, settings as hypothesis_settings, strategies as st
from sqlalchemy import Engine
from sqlmodel import Session, col, delete, select

from ingest.devices.profile import UNREGISTERED, DeviceProfile
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.active_rule import ActiveRule
from ingest.rules.alerts import Outcome, message_of, raise_alerts, remember_cooldowns
from ingest.rules.backtest import Backtest
from ingest.rules.evaluate import Evaluated, evaluate_readings
from ingest.rules.rule_set import RuleSet
from storage.alerts import Alert
from storage.maintenance import SuppressedAlerts
from storage.notifications import Notification
from storage.rules import Rule
from storage.telemetry import Reading
from storage.times import EPOCH, MINUTE, SECOND, moment

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


def readings_at(minutes: list[int], device_id: str = "D1", value: float = 65.0) -> list[Reading]:
    return [
        Reading(device_id=device_id, time=START + m * MINUTE, metrics={"temperature": value + m}, received_at=0)
        for m in minutes
    ]


def breaches(rule: Rule, minutes: list[int], device_id: str = "D1", profile: DeviceProfile = UNREGISTERED) -> Evaluated:
    readings = readings_at(minutes, device_id)
    return evaluate_readings(RuleSet.of([rule]), readings, [profile] * len(readings))


def raised(session: Session, evaluated: Evaluated, newest: dict[str, int] | None = None) -> Outcome:
    outcome = raise_alerts(session, evaluated, Outbox(NotifySettings.load()), newest or {})
    session.commit()
    return outcome


def fired_minutes(session: Session, device_id: str = "D1") -> list[int]:
    times = session.exec(
        select(Alert.reading_time).where(Alert.device_id == device_id).order_by(col(Alert.reading_time))
    )
    return [int((time - EPOCH).total_seconds() - START / SECOND) // 60 for time in times]


def test_an_alert_says_what_the_rule_said(session: Session) -> None:
    rule = saved_rule(session, severity="critical")
    (alert,) = raised(session, breaches(rule, [0])).alerts
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
        said += [
            message_of(breach) for breach in evaluate_readings(RuleSet.of([rule]), [reading], [UNREGISTERED]).breaches
        ]
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
    rules = RuleSet.of([rule])
    for minutes in ([20], [21, 34, 35], [5, 6], [36]):
        evaluated = evaluate_readings(rules, readings_at(minutes), [UNREGISTERED] * len(minutes))
        remember_cooldowns(rules, raised(session, evaluated))
    raised(session, breaches(rule, [22], "D2"))
    assert fired_minutes(session) == [5, 20, 35]
    assert fired_minutes(session, "D2") == [22]


def test_the_same_reading_never_alerts_twice(session: Session) -> None:
    rule = saved_rule(session, cooldown_minutes=0)
    for _ in range(2):
        raised(session, breaches(rule, [1, 2]))
    assert fired_minutes(session) == [1, 2]


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 120), min_size=1, max_size=10), min_size=1, max_size=5), st.integers(0, 30))
def test_whatever_the_order_of_arrival_alerts_keep_their_distance(
    session: Session, batches: list[list[int]], cooldown: int
) -> None:
    session.exec(delete(Alert))
    rule = saved_rule(session, cooldown_minutes=cooldown)
    for minutes in batches:
        raised(session, breaches(rule, minutes))
    fired = fired_minutes(session)
    every = {m for minutes in batches for m in minutes}
    assert all(later - earlier >= max(cooldown, 1) for earlier, later in pairwise(fired))
    assert all(any(abs(m - f) < max(cooldown, 1) for f in fired) for m in every)


def test_one_alert_and_one_notification_per_breach_with_racing_ingesters(session: Session, engine: Engine) -> None:
    plain = [saved_rule(session, notification_channels=["email", "webhook"]) for _ in range(4)]
    waiting = saved_rule(session, for_seconds=60, notification_channels=["email"])
    batch = [r for device in ("D1", "D2", "D3") for r in readings_at([0, 1, 2], device)]
    outbox = Outbox(NotifySettings.load())

    def ingester(seed: int) -> int:
        mine = random.Random(seed).sample(batch, len(batch))
        evaluated = evaluate_readings(RuleSet.of([*plain, waiting]), mine, [UNREGISTERED] * len(mine))
        with Session(engine) as own:
            outcome = raise_alerts(own, evaluated, outbox, {})
            own.commit()
            return len(outcome.alerts)

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(ingester, range(8)))
    assert sum(counts) == 15
    assert len(session.exec(select(Alert)).all()) == 15
    sent = Counter(session.exec(select(Notification.alert_id, Notification.channel)))
    assert len(sent) == 12 * 2 + 3
    assert set(sent.values()) == {1}


def test_a_plant_that_breaches_all_at_once_is_one_decision(session: Session) -> None:
    rules = [saved_rule(session) for _ in range(8)]
    readings = [r for i in range(1000) for r in readings_at([0], f"D{i}")]
    outcome = raised(session, evaluate_readings(RuleSet.of(rules), readings, [UNREGISTERED] * len(readings)))
    assert len(outcome.alerts) == 8000


def test_maintenance_holds_back_and_counts_what_there_would_have_been(session: Session) -> None:
    rule = saved_rule(session)
    window = DeviceProfile(windows=[(START, START + 60 * MINUTE)])
    for minutes in ([0, 1, 14, 15], [15, 20, 31], [59, 60, 61]):
        raised(session, breaches(rule, minutes, profile=window))
    (suppressed,) = session.exec(select(SuppressedAlerts)).all()
    assert (suppressed.device_id, suppressed.count) == ("D1", 4)  # minutes 0, 15, 31, 59
    assert fired_minutes(session) == [60]  # held-back alerts begin no cooldown
    outcome = raised(session, breaches(rule, [100], profile=DeviceProfile(status="maintenance")))
    assert (len(outcome.alerts), outcome.suppressed) == (0, 1)


def test_a_hold_survives_a_restart_and_is_shared(session: Session, engine: Engine) -> None:
    rule = saved_rule(session, for_seconds=600)
    raised(session, breaches(rule, [0]))
    with Session(engine) as other:  # another ingester, which has its own memory
        raised(other, breaches(rule, [5]))
        assert not raised(other, breaches(rule, [9])).alerts
    raised(session, breaches(rule, [10]))
    assert fired_minutes(session) == [10]


def test_an_edited_rule_begins_its_hold_anew(session: Session) -> None:
    rule = saved_rule(session, for_seconds=600)
    raised(session, breaches(rule, [0]))
    rule.updated_at += timedelta(seconds=1)
    session.add(rule)
    session.commit()
    session.refresh(rule)
    raised(session, breaches(rule, [10, 19]))
    assert fired_minutes(session) == []
    raised(session, breaches(rule, [20]))
    assert fired_minutes(session) == [20]


moments = st.lists(st.tuples(st.integers(0, 240), st.sampled_from([50.0, 70.0])), max_size=30, unique_by=lambda r: r[0])


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    readings=moments,
    cooldown=st.integers(0, 40),
    for_minutes=st.sampled_from([0, 1, 10, 30]),
    hours=st.sampled_from([None, ("02:30", "04:00"), ("04:00", "03:00")]),
    window=st.none() | st.tuples(st.integers(0, 240), st.integers(1, 120)),
    at_once=st.integers(1, 10),
)
# An alert's cooldown does not end the count of suppressed ones.
@example(readings=[(222, 70.0), (223, 70.0)], cooldown=2, for_minutes=0, hours=None, window=(223, 1), at_once=1)
def test_rules_mean_what_they_say_one_by_one(
    session: Session,
    *,
    readings: list[tuple[int, float]],
    cooldown: int,
    for_minutes: int,
    hours: tuple[str, str] | None,
    window: tuple[int, int] | None,
    at_once: int,
) -> None:
    session.exec(delete(Alert))
    active = {"days": list(range(7)), "from": hours[0], "to": hours[1]} if hours else None
    rule = saved_rule(session, cooldown_minutes=cooldown, for_seconds=60 * for_minutes, active_hours=active)
    windows = [(START + window[0] * MINUTE, START + (window[0] + window[1]) * MINUTE)] if window else []
    profile = DeviceProfile(windows=windows)
    readings.sort()
    expected, suppressed = plain_alerts(readings, cooldown, for_minutes, hours, window)

    came = [
        Reading(device_id="D1", time=START + m * MINUTE, metrics={"temperature": v}, received_at=0) for m, v in readings
    ]
    rules = RuleSet.of([rule])
    counted = 0
    newest = {"D1": 0}
    for i in range(0, len(came), at_once):
        part = came[i : i + at_once]
        outcome = raised(session, evaluate_readings(rules, part, [profile] * len(part)), newest)
        remember_cooldowns(rules, outcome)
        counted += outcome.suppressed
        newest["D1"] = part[-1].time
    assert fired_minutes(session) == expected
    assert counted == suppressed

    backtest = Backtest(ActiveRule.of(rule), profile)
    for i in range(0, len(came), at_once):
        part = came[i : i + at_once]
        backtest.feed(np.array([r.time for r in part]), np.array([r.metrics["temperature"] for r in part]))
    assert [(e.time - START) // MINUTE for e in backtest.episodes] == expected
    assert backtest.suppressed == suppressed


def plain_alerts(
    readings: list[tuple[int, float]],
    cooldown: int,
    for_minutes: int,
    hours: tuple[str, str] | None,
    window: tuple[int, int] | None,
) -> tuple[list[int], int]:
    """The rule's words, taken one reading after the other."""
    since: int | None = None
    fired: list[int] = []
    suppressed: list[int] = []
    for minute, value in readings:
        if value <= 60:
            since = None
            continue
        since = minute if since is None else since
        if minute - since < for_minutes:
            continue
        local = f"{moment(START + minute * MINUTE):%H:%M}"
        if hours:
            begins, ends = hours
            if not (begins <= local < ends if begins < ends else local >= begins or local < ends):
                continue
        working = window is not None and window[0] <= minute < window[0] + window[1]
        record = suppressed if working else fired
        if not record or minute - record[-1] >= max(cooldown, 1):
            record.append(minute)
    return fired, len(suppressed)
