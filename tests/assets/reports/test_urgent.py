"""What a report says first: readings that may be wrong, a high risk of failure, and sensors that stand still."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.reports import ReportInput, build_report
from assets.reports.compose import compose
from assets.reports.content import ReportContent
from assets.reports.document import DRAWINGS, markdown_of
from assets.reports.doubtful import without_doubtful
from assets.reports.inputs import Earlier
from assets.reports.look import language
from assets.reports.measures import Measured
from tests.assets.reports.test_content import summary
from tests.assets.reports.test_excel import Book, workbook
from tests.assets.reports.test_markdown import unescaped
from tests.support.report_factories import DAY, HOUR, MINUTE, bare, content_of, table
from tests.support.report_pictures import MONDAY

WEEK = MONDAY + 7 * DAY


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def steady_with(glitch: float | None, **changes: Any) -> ReportInput:
    """A week of about 5 kW, with one reading of that many watts."""
    times = [MONDAY + i * MINUTE for i in range(7 * 1440)]
    power = (5000 + np.random.default_rng(1).normal(0, 40, len(times))).tolist()
    if glitch is not None:
        power[3000] = glitch
    return bare(MONDAY, WEEK, table("D1", times, {"power": power}), cadence_seconds=60.0, **changes)


def german(data: ReportInput) -> ReportContent:
    return compose(Measured.of(data), language("de"))


def test_a_reading_that_may_be_wrong_is_checked_first_and_advises_nothing() -> None:
    content = content_of(steady_with(9.9e6))
    (advice,) = content.advice
    assert (advice.kind, advice.title) == ("reading", "Check this reading")
    assert advice.energy_kwh == pytest.approx(9.9e3 / 60, rel=0.01)
    text = plain(advice.text)
    assert "The reading of 9.90 MW on Wed 4 Feb, 02:00" in text
    assert "164.9 kWh" in text
    assert "energy tab" in text
    early = summary(content)[1]
    assert "One reading may be wrong: 9.90 MW on Wed 4 Feb, 02:00. It stands for 164.9 kWh" in plain(early)
    peak = next(bullet for bullet in summary(content) if bullet.startswith("Power peaked"))
    assert peak.endswith("That rests on the reading that may be wrong.")
    assert sum("One reading" in bullet for bullet in summary(content)) == 1
    for key in ("peak_power", "peak_demand_15min", "load_factor", "running_hours"):
        assert content.kpi(key).note == "rests on one reading that may be wrong", key
    assert "Messwert" in german(steady_with(9.9e6)).advice[0].title


def test_what_one_reading_did_is_not_shown_as_true() -> None:
    earlier = Earlier("period_before", MONDAY - 7 * DAY, MONDAY, Measured.of(steady_with(9.9e6)).energy, None)
    content = content_of(steady_with(9.9e6, earlier=[earlier]))
    sure = content_of(steady_with(None, earlier=[replace(earlier, energy=Measured.of(steady_with(None)).energy)]))
    for key in ("mean_power", "peak_power", "peak_demand_15min", "load_factor", "running_hours"):
        assert content.kpi(key).shown.value == pytest.approx(sure.kpi(key).value, rel=1e-3), key
    assert content.kpi("energy").shown.value == content.kpi("energy").value
    assert content.kpi("energy").value == pytest.approx((sure.kpi("energy").value or 0) + 164.9, abs=0.1)
    for figure, true in zip(content.comparisons[0].figures, sure.comparisons[0].figures, strict=True):
        assert figure.value == pytest.approx(true.value, rel=1e-3), figure.key
        assert figure.earlier == pytest.approx(true.earlier, rel=1e-3), figure.key
    assert content.load is not None
    assert max(content.load.duration_curve_w) < 6000
    (power,) = content.series
    assert max(watts for watts in power.max if watts is not None) < 6000
    assert content.metrics[0].max < 6000
    assert sum(day.doubtful_kwh for day in content.daily) == pytest.approx(164.9, abs=0.1)
    assert max(day.peak_power_w or 0 for day in content.daily) < 6000
    drawn = set(DRAWINGS) - {"voltage", "forecast", "others", "more_others"}
    text = plain(unescaped(markdown_of(content, drawn)))
    assert text.count("These figures are without readings that may be wrong") == 4
    assert "Of this, 164.9 kWh stand for readings that may be wrong" in text
    assert text.count("9.90 MW") == 5  # twice each the reading and the power with it, and among the findings
    assert sure.kpi("energy").without_doubtful is None
    assert "may be wrong" not in unescaped(markdown_of(sure, drawn))


def test_the_workbook_says_what_one_reading_did(tmp_path: Path) -> None:
    earlier = Earlier("period_before", MONDAY - 7 * DAY, MONDAY, Measured.of(steady_with(None)).energy, None)
    book = Book.of(workbook(steady_with(9.9e6, earlier=[earlier]), tmp_path))
    for name in ("Comparison", "Load by hour", "Load duration"):
        assert book.rows(name)[-1][0] == "These figures are without readings that may be wrong.", name
    loads = {row[0]: row for row in book.rows("Load")}
    assert float(loads["Highest power"][1] or 0) < 6000
    assert plain(str(loads["Highest power"][4])) == "without readings that may be wrong; with them: 9.90 MW"
    header, *days = book.rows("Daily")
    assert header[-1] == "Energy without readings that may be wrong (kWh)"
    assert sum(float(row[1] or 0) - float(row[-1] or 0) for row in days[:7]) == pytest.approx(164.9, abs=0.1)


@pytest.mark.parametrize("step", [MINUTE, 15 * MINUTE, HOUR])
def test_without_doubtful_readings_their_neighbours_follow_each_other(step: timedelta) -> None:
    times = [MONDAY + i * step for i in range(int(7 * DAY / step))]
    power = [5000.0] * len(times)
    power[70] = 9.9e6
    data = bare(MONDAY, WEEK, table("D1", times, {"power": power}), cadence_seconds=step.total_seconds())
    energy = without_doubtful(Measured.of(data).energy)
    power[70] = 5000.0
    steady = bare(MONDAY, WEEK, table("D1", times, {"power": power}), cadence_seconds=step.total_seconds())
    without_glitch = Measured.of(steady).energy.cells.amounts.tolist()
    assert energy.cells.amounts.tolist() == pytest.approx(without_glitch, abs=2)
    assert energy.findings == ()


def test_advice_on_energy_is_not_sure_while_a_reading_may_be_wrong() -> None:
    outside = [((MONDAY + i * DAY).timestamp() * 1e6, (MONDAY + i * DAY + HOUR).timestamp() * 1e6) for i in range(7)]
    working = [(int(a), int(b)) for a, b in outside]
    advice = {one.kind: one for one in content_of(steady_with(9.9e6, working=working)).advice}
    assert advice["outside_hours"].confidence == "low"
    assert "may be wrong" in advice["outside_hours"].reason
    sure = {one.kind: one for one in content_of(steady_with(None, working=working)).advice}
    assert sure["outside_hours"].confidence == "high"
    assert "reading" not in sure


def predicted(probability: float = 0.886, **changes: Any) -> ReportInput:
    results = {
        "failure_probability": probability, "as_of": (WEEK - HOUR).isoformat(), "horizon_hours": 24.0,
        "drivers": [{"metric": "temperature", "share": 0.6}, {"metric": "vibration_rms", "share": 0.3}],
        "remaining_life": {"hours": 8.2, "lower": 0.5, "upper": 16.0, "share": 0.8, "at_least": False, "lives": 9,
                           "novelty": {}, "warning": None},
        "summary": {"failures_learnt_from": 9}, "warning": None,
    } | changes  # fmt: skip
    accuracy = {"failures_tested": 5, "failures_found": 5, "false_alarm_share": 0.02}
    job = {
        "job_id": "job-1", "model_name": "random_forest", "completed_at": WEEK.isoformat(), "results": results,
        "accuracy_metrics": accuracy,
    }  # fmt: skip
    return steady_with(9.9e6, analyses={"prediction": job})


def test_a_high_risk_of_failure_comes_first() -> None:
    content = content_of(predicted())
    first = plain(summary(content)[0])
    assert "The probability of a failure within 1 d is 88.6 %" in first
    assert "The remaining life is about 8 h 12 min; in 80 % of cases it is between 30 min and 16 h." in first
    advice = content.advice[0]
    assert (advice.kind, advice.confidence, content.advice[1].kind) == ("risk", "high", "reading")
    text = plain(advice.text)
    assert "88.6 %" in text
    assert "8 h 12 min" in text
    assert "depends most on: temperature and vibration rms" in text
    assert "before 5 of 5 failures" in advice.reason
    assert "Restlebensdauer beträgt etwa 8 h 12 min" in plain(german(predicted()).advice[0].text)


@pytest.mark.parametrize(
    ("changes", "is_named"),
    [
        ({"failure_probability": 0.2, "remaining_life": {"hours": 20.0}}, True),
        ({"failure_probability": 0.2, "remaining_life": {"hours": 200.0}}, False),
        ({"failure_probability": 0.2, "remaining_life": {"hours": None, "lives": 1, "reason": "too few"}}, False),
        ({"warning": "Do not plan with them."}, False),
    ],
)
def test_a_risk_is_first_if_it_is_high_and_not_worthless(changes: dict[str, Any], is_named: bool) -> None:
    content = content_of(predicted(**changes))
    assert (content.advice[0].kind == "risk") is is_named
    assert ("probability of a failure" in summary(content)[0]) is is_named


@pytest.mark.parametrize(
    ("tested", "found", "false_alarms", "confidence"),
    [(None, None, None, "low"), (1, 1, 0.0, "medium"), (9, 5, 0.1, "medium"), (9, 2, 0.0, "low"), (9, 9, 0.5, "low")],
)
def test_a_risk_is_as_sure_as_its_test(
    tested: int | None, found: int | None, false_alarms: float | None, confidence: str
) -> None:
    data = predicted()
    figures = {"failures_tested": tested, "failures_found": found, "false_alarm_share": false_alarms}
    analyses = {"prediction": data.analyses["prediction"] | {"accuracy_metrics": figures}}
    assert content_of(replace(data, analyses=analyses)).advice[0].confidence == confidence


def built(data: ReportInput, kind: str, folder: Path) -> bytes:
    folder.mkdir()
    return build_report(
        data, kind, folder=folder, quarto=None, timeout_seconds=60, max_bytes=10**8, progress=lambda *_: None
    ).content  # fmt: skip


def test_the_remaining_life_is_in_every_format(tmp_path: Path) -> None:
    life = json.loads(built(predicted(), "json", tmp_path / "json"))["risk"]["remaining_life"]
    assert (life["hours"], life["lower"], life["upper"], life["share"]) == (8.2, 0.5, 16.0, 0.8)
    assert "remaining life is about 8" in built(predicted(), "html", tmp_path / "html").decode()
    book = Book.of(workbook(predicted(), tmp_path))
    figures = {row[0]: row[1] for row in book.rows("Risk of failure")}
    assert figures["Remaining life (h)"] == 8.2
    assert figures["Remaining life, upper bound (h)"] == 16.0


def frozen() -> ReportInput:
    event = {
        "start": (MONDAY + DAY).isoformat(), "end": (MONDAY + DAY + 10 * HOUR - MINUTE).isoformat(), "kind": "frozen",
        "metric": "voltage", "score": 3.0, "points": 600,
        "why": "All metrics held exactly the same values for 10 hours.",
    }  # fmt: skip
    job = {"job_id": "job-1", "results": {"events": [event]}, "accuracy_metrics": {}}
    return steady_with(None, analyses={"anomaly": job})


def test_a_sensor_that_stands_still_is_said_in_words_and_is_advice() -> None:
    content = content_of(frozen())
    assert content.anomalies[0].kind == "frozen"
    assert any("All metrics held exactly the same values for 10 hours." in bullet for bullet in summary(content))
    (advice,) = content.advice
    assert advice.kind == "sensor"
    assert "held exactly the same values for 10 h." in plain(advice.text)
    told = german(frozen())
    assert any("Alle Messgrößen standen 10 h lang auf genau denselben Werten." in plain(b) for b in summary(told))
    assert told.advice[0].title == "Den Sensor prüfen"
