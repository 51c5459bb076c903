"""What people say of anomalies moves the threshold, within bounds, and shows how good the detector is."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from assets.analyses import AnomalyParameters, DeviceContext, Result, analyse
from assets.analyses.feedback import MAX_FACTOR, MIN_FACTOR, Judged, accuracy, judged, learnt_factor
from assets.analyses.label import Label
from tests.assets.analyses.test_anomaly import START, minutes, noisy, table

Verdict = Literal["fault", "none"]


def said(*strengths: tuple[float, Verdict]) -> Judged:
    labels = tuple(Label(START, START, verdict) for _, verdict in strengths)
    return Judged(labels, np.array([strength for strength, _ in strengths], float))


def test_without_labels_nothing_moves_and_the_reason_is_given() -> None:
    assert learnt_factor(said()) == 1
    assert accuracy(said())["precision"] is None
    assert "nobody has said" in accuracy(said())["reason"]


def test_an_event_that_was_none_raises_the_threshold_above_it() -> None:
    assert 1.4 < learnt_factor(said((1.4, "none"))) < 1.5


def test_a_missed_fault_lowers_the_threshold_below_it() -> None:
    assert 0.8 < learnt_factor(said((0.9, "fault"))) < 0.9


@given(st.lists(st.tuples(st.floats(-5, 50), st.sampled_from(("fault", "none"))), max_size=20))
def test_the_threshold_stays_within_its_bounds_and_is_never_worse_than_before(found: list[tuple[float, Any]]) -> None:
    sayings = said(*found)
    factor = learnt_factor(sayings)
    assert MIN_FACTOR <= factor <= MAX_FACTOR

    def wrong(at: float) -> int:
        return int(((sayings.strengths > at) != sayings.is_fault).sum())

    assert wrong(factor) <= wrong(1)


def test_faults_are_not_given_up_for_as_many_events_that_were_none() -> None:
    assert learnt_factor(said((2, "none"), (2.5, "fault"), (1.8, "none"))) < 2.5
    assert learnt_factor(said((1.5, "fault"), (2, "none"))) == 1


def test_precision_and_recall_are_of_a_threshold_that_has_not_learnt_the_label_itself() -> None:
    figures = accuracy(said((1.5, "none")))
    assert (figures["precision"], figures["recall"]) == (0, None)
    assert "fault" in figures["reason"]
    figures = accuracy(said((5, "fault"), (4, "fault"), (1.5, "none"), (1.6, "none"), (0.2, "fault")))
    # 1.6 teaches that 1.5 is none, but not the other way round.
    assert figures["precision"] == pytest.approx(2 / 3)
    assert figures["recall"] == pytest.approx(2 / 3)
    assert (figures["faults_judged"], figures["none_judged"]) == (3, 2)
    assert "reason" not in figures


def test_what_was_said_of_one_event_of_several_analyses_counts_once_and_the_newest_counts() -> None:
    def at(minute: int, until: int, verdict: Verdict) -> Label:
        return Label(START + timedelta(minutes=minute), START + timedelta(minutes=until), verdict)

    labels = [at(10, 20, "none"), at(11, 20, "fault"), at(10, 20, "fault"), at(18, 60, "fault"), at(5, 5, "none")]
    index = pd.date_range(START, periods=100, freq="min")
    found = judged(labels, index, np.ones(100), (), "covariance")
    assert found.labels == (labels[0], labels[3], labels[4])


def analysed(columns: dict[str, list[float | None]], *labels: Label) -> Result:
    rows = table(minutes(3000), columns)
    parameters = AnomalyParameters()
    context = DeviceContext(labels=labels)
    return analyse("anomaly", "covariance", rows, parameters, lambda percent, words: None, context=context)


def label(event: dict[str, Any], verdict: Verdict) -> Label:
    start, end = (datetime.fromisoformat(event[name]) for name in ("start", "end"))
    return Label(start, end, verdict, event["kind"], "covariance", event["exceeds"])


@pytest.fixture(scope="module")
def columns() -> dict[str, list[float | None]]:
    columns = noisy(3000, "pressure", "flow")
    for first, off in ((800, 5.0), (1500, 30.0)):
        columns["pressure"][first : first + 15] = [50 + off] * 15
    return columns


def test_an_event_that_was_none_is_not_told_again(columns: dict[str, list[float | None]]) -> None:
    events = analysed(columns).results["events"]
    (weak,) = [event for event in events if "T13" in event["start"]]
    assert weak["exceeds"] > 1
    again = analysed(columns, label(weak, "none"))
    starts = [event["start"] for event in again.results["events"]]
    assert [start for start in starts if weak["start"] <= start <= weak["end"]] == []
    assert again.results["summary"]["threshold_factor"] > 1
    assert again.results["summary"]["rows_of_false_alarms"] == weak["points"]
    assert again.accuracy_metrics["precision"] == 0
    assert any("2026-01-02T01" in start for start in starts)


def test_feedback_counts_when_its_period_is_not_analysed_any_more(columns: dict[str, list[float | None]]) -> None:
    old = START - timedelta(days=90)
    forgotten = Label(old, old, "none", "unusual", "covariance", 1.5)
    assert analysed(columns, forgotten).results["summary"]["threshold_factor"] == pytest.approx(1.53)
    other = Label(old, old, "none", "unusual", "autoencoder", 1.5)
    assert analysed(columns, other).results["summary"]["threshold_factor"] == 1


def test_frozen_channels_that_were_no_fault_are_not_told_again() -> None:
    columns = noisy(3000, "pressure", "flow")
    for values in columns.values():
        values[1000:1200] = [values[1000]] * 200
        values[2000:2600] = [values[2000]] * 600
    short, long = (event for event in analysed(columns).results["events"] if event["kind"] == "frozen")
    kinds = [
        event["start"]
        for event in analysed(columns, label(short, "none")).results["events"]
        if event["kind"] == "frozen"
    ]
    assert kinds == [long["start"]]
    frozen = analysed(columns, label(long, "none")).results["summary"]["frozen_events"]
    assert frozen == 0
    recall = analysed(columns, label(long, "fault")).accuracy_metrics
    assert (recall["precision"], recall["recall"]) == (1, 1)


def test_a_fault_is_not_learnt_from() -> None:
    columns = noisy(3000, "pressure", "flow")
    columns["pressure"][1000:1900] = [62.0 + (i % 7) for i in range(900)]
    fault = Label(START + timedelta(minutes=1000), START + timedelta(minutes=1899), "fault")
    summary = analysed(columns, fault).results["summary"]
    assert summary["trained_rows"] == 2100
    assert START.tzinfo is UTC
