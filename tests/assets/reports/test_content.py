import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from assets.reports import ReportError, build_report
from assets.reports.content import ReportContent, schema
from assets.reports.document import markdown_of
from tests.support.report_factories import DAY, HOUR, MINUTE, PARIS, START, bare, content_of, house, steady

PUBLISHED = Path(build_report.__code__.co_filename).with_name("schema.json")
MONDAY = datetime(2026, 2, 2, tzinfo=PARIS)


def summary(content: ReportContent) -> list[str]:
    """The bullets of the report's summary, as they are read."""
    (block,) = re.findall(r"::: \{\.summary\}\n- (.*?)\n:::", markdown_of(content, ()), re.DOTALL)
    bullets = re.sub(r"\s*\n  ", " ", block).split("\n- ")
    return [re.sub(r"\\([ -/:-@\[-`{-~])", r"\1", bullet).replace("\u00a0", " ") for bullet in bullets]


def analysed(kind: str, accuracy: dict[str, Any] | None = None, **results: Any) -> ReportContent:
    job = {"job_id": "job-1", "model_name": "m", "results": results, "accuracy_metrics": accuracy}
    return content_of(bare(MONDAY, MONDAY + DAY, steady(MONDAY, MONDAY + DAY), analyses={kind: job}))


def test_the_published_schema_is_that_of_the_content() -> None:
    assert json.loads(PUBLISHED.read_text()) == schema(), "python -m assets.reports"


@pytest.mark.parametrize("data", [house(), bare(MONDAY, MONDAY + MINUTE)], ids=["house", "empty"])
def test_a_report_as_json_follows_the_published_schema(data: Any, tmp_path: Path) -> None:
    report = build_report(
        data, "json", folder=tmp_path, quarto=None, timeout_seconds=60, max_bytes=10**7, progress=lambda *_: None
    )
    assert (report.media_type, report.suffix) == ("application/json", "json")
    said = json.loads(report.content, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    jsonschema_rs.Draft202012Validator(json.loads(PUBLISHED.read_text())).validate(said)
    assert said["device"]["id"] == data.device_id
    assert datetime.fromisoformat(said["period"]["start"]) == data.start
    assert datetime.fromisoformat(said["period"]["end"]) == data.end
    assert ReportContent.model_validate_json(report.content) == content_of(data)
    assert report.facts["size_bytes"] == len(report.content)
    assert report.facts["kpis"] == {kpi["key"]: kpi["value"] for kpi in said["kpis"]}


def test_the_schema_refuses_other_documents() -> None:
    said = json.loads(content_of(house()).to_json())
    validator = jsonschema_rs.Draft202012Validator(json.loads(PUBLISHED.read_text()))
    for wrong in ({"schema_version": "2.0"}, {"more": 1}, {"kpis": [{"key": "energy"}]}):
        assert not validator.is_valid({**said, **wrong})


def test_equal_input_is_equal_json() -> None:
    assert content_of(house()).to_json() == content_of(house()).to_json()


def test_events_that_overlap_the_period_are_listed_and_the_others_counted() -> None:
    content = analysed(
        "anomaly",
        events=[
            {
                "start": "2026-02-02T20:00:00Z",
                "end": "2026-02-03T09:00:00Z",
                "metric": "power",
                "score": 4,
                "points": 9,
            },
            {"start": "2026-02-01T20:00:00+00:00", "end": "2026-02-01T23:00:00+00:00"},
            {"start": "2026-02-01T20:00:00Z", "end": "2026-02-01T22:59:59Z", "score": math.nan},
        ],
    )
    assert [(e.start.day, e.metric, e.score, e.points) for e in content.anomalies] == [
        (1, None, None, None),
        (2, "power", 4, 9),
    ]
    assert content.anomalies_outside_period == 1
    assert content.kpi("anomalies").value == 2


def test_without_events_each_flagged_row_is_an_anomaly() -> None:
    points = [
        {"timestamp": "2026-02-02T10:00:00Z", "value": 1, "is_anomaly": flag, "anomaly_score": 2.5}
        for flag in (True, False)
    ]
    (event,) = analysed("anomaly", anomalies=points).anomalies
    assert (event.start, event.end, event.score) == (event.start, event.start, 2.5)
    assert analysed("anomaly", anomalies=points, events=[]).anomalies == []


def test_the_first_24_hours_of_a_forecast_as_energy() -> None:
    def points(hours: int) -> list[dict[str, Any]]:
        return [
            {"timestamp": f"2026-02-{3 + i // 24:02}T{i % 24:02}:00:00Z", "value": 2.0, "lower": 1.0, "upper": 3.0}
            for i in range(hours)
        ]

    def energy(metric: str, unit: str | None, hours: int) -> float | None:
        found = analysed("forecast", metric=metric, unit=unit, forecast=points(hours)).forecast
        assert found is not None
        return found.energy_next_24h_kwh

    assert energy("power", "kW", 24) == pytest.approx(48)
    assert energy("power", None, 48) == pytest.approx(0.048)
    assert energy("power", "kW", 23) is None
    assert energy("temperature", None, 24) is None


@pytest.mark.parametrize(
    ("kind", "results", "message"),
    [
        ("anomaly", {"events": [{"start": "2026-02-02T20:00:00Z"}]}, "The anomaly result has an item without end"),
        ("anomaly", {"events": [{"start": "yesterday", "end": "today"}]}, "has 'yesterday' where a time is expected"),
        ("anomaly", {"events": [{"start": "2026-02-02T20:00:00"}]}, "without a UTC offset"),
        ("forecast", {"forecast": [{"timestamp": "2026-02-02T20:00:00Z", "value": None}]}, "a point without a value"),
    ],
)
def test_a_malformed_result_is_an_error(kind: str, results: dict[str, Any], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        analysed(kind, **results)


def test_numbers_that_json_lacks_are_null() -> None:
    accuracy = {"mae": math.inf, "nested": {"f1": math.nan, "n": 3}, "ok": True, "why": "no\x07 labels"}
    (analysis,) = analysed("forecast", accuracy, forecast=[]).analyses
    assert analysis.accuracy == {"mae": None, "nested": {"f1": None, "n": 3}, "ok": True, "why": "no labels"}


def test_a_missing_analysis_has_a_reason() -> None:
    content = content_of(bare(MONDAY, MONDAY + DAY, analyses={"anomaly": {"missing": "nobody asked"}}))
    assert content.analysis("anomaly").reason == "nobody asked"  # type: ignore[union-attr] # it is there
    assert content.analysis("forecast") is None
    assert content.kpi("anomalies").value is None


def test_text_of_users_is_one_line_without_invisible_characters() -> None:
    content = content_of(bare(MONDAY, MONDAY + DAY, device_name=" a\tb\n\x1b[31m\u202egnp.exe\x00 \ud800 é 工 "))
    assert content.device.name == "a b [31mgnp.exe é 工"
    assert content_of(bare(MONDAY, MONDAY + DAY, device_name="\x07")).device.name == "D1"


def test_alerts_beyond_the_list_are_counted() -> None:
    content = content_of(replace(house(), alerts_total=12_345))
    assert (len(content.alerts), content.kpi("alerts").value) == (5, 12_345)
    assert "12,345 alerts were raised. The newest 5 are listed (5 high). 2 are still open." in summary(content)


def test_the_summary() -> None:
    assert summary(content_of(house())) == [
        "The device used 301.7 kWh over 7 d of measured time, 1.80 kW on average.",
        "Energy was highest on Sat 23 Dec (76.4 kWh) and lowest on Tue 19 Dec (28.9 kWh).",
        (
            "Power peaked at 8.70 kW on Sat 23 Dec, 23:36."
            " The highest 15-minute demand was 6.82 kW, from Fri 22 Dec, 22:30."
        ),
        "Voltage ranged from 216.4 V to 249.5 V. 0.9 % of readings were outside the nominal band of 226 to 253 V.",
        "5 alerts were raised (5 high). 2 are still open.",
        "The anomaly analysis found 1 episode of unusual behaviour. It began on Sat 23 Dec, 13:36 (voltage).",
        "The forecast for the 24 hours from Sun 24 Dec, 00:00 is 76.4 kWh.",
        "Readings cover 100 % of the period. No gap is longer than 3 min.",
    ]
    empty = content_of(bare(MONDAY, MONDAY + DAY))
    assert summary(empty) == ["This device has no readings in this period.", "No alerts were raised."]


def test_the_summary_of_alerts_in_the_singular_and_when_all_are_closed() -> None:
    data = house()
    one = replace(data, alerts=[{**data.alerts[0], "status": "open"}])
    assert "One alert was raised (high). It is still open." in summary(content_of(one))
    closed = [{**alert, "status": "resolved"} for alert in data.alerts]
    bullets = summary(content_of(replace(data, alerts=closed)))
    assert "5 alerts were raised (5 high). All of them have been acknowledged or resolved." in bullets
    bullets = summary(content_of(replace(data, alerts=closed[:1])))
    assert "One alert was raised (high). It has been acknowledged or resolved." in bullets


def test_a_gap_is_named_where_it_was() -> None:
    data = house(START, START + DAY)
    kept = [row for row in range(len(data.readings)) if not 600 <= row < 720]
    *_, last = summary(content_of(replace(data, readings=data.readings.take(kept))))
    assert last == "Readings cover 91.7 % of the period. The longest gap lasted 2 h 1 min, from Sun 17 Dec, 09:59."


def test_times_are_utc() -> None:
    content = content_of(house())
    assert content.period.start == START
    assert content.period.start.tzinfo is UTC
    assert (content.period.end - content.period.start) / HOUR == 168
