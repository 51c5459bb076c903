"""What a report says of time that it has no readings of, and of little that was measured."""

from dataclasses import replace
from datetime import timedelta

import pytest

from assets.energy import State, StateFigures
from assets.reports import LanguageCode, Missing
from assets.reports.compose import compose
from assets.reports.content import ReportContent
from assets.reports.document import markdown_of
from assets.reports.look import language
from assets.reports.measures import Measured
from storage.times import HOUR as HOUR_LONG, microseconds
from tests.assets.reports.test_markdown import unescaped
from tests.support.report_factories import DAY, HOUR, MINUTE, START, bare, content_of, house, steady, table
from tests.support.report_pictures import everything

UTC_DAY = START.replace(hour=1)  # 00:00 UTC in winter


def written(content: ReportContent) -> str:
    return " ".join(unescaped(markdown_of(content, ())).split())


def states(hours: dict[State, int], length: timedelta) -> StateFigures:
    """A machine's states, of so many hours each."""
    time = {state: number * HOUR_LONG for state, number in hours.items()}
    return StateFigures(microseconds(UTC_DAY), microseconds(UTC_DAY + length), (), time, dict.fromkeys(time, 0))


def test_days_that_are_in_no_file_are_not_covered_and_not_silent() -> None:
    second = (UTC_DAY + DAY).date()
    data = bare(
        UTC_DAY, UTC_DAY + 2 * DAY, steady(UTC_DAY, UTC_DAY + DAY), waiting_days=[second], unexported_days=[second],
        states=states({"idle": 24, "silent": 24}, 2 * DAY),
    )  # fmt: skip
    content = content_of(data)

    assert [(s.state, s.hours, s.share) for s in content.states] == [("idle", 24.0, 1.0)]
    text = written(content)
    assert "Readings cover 100 % of the period" not in text
    assert "(UTC) are not in this report: they are not in a file yet." in text.split("What to do")[0]
    assert "Readings cover 100 % of the rest of the period." in text
    assert "without 1 day (see the summary)" in text
    german = written(compose(Measured.of(data), language("de")))
    assert "Die Messwerte decken 100 % des übrigen Zeitraums ab." in german


def test_a_machine_of_which_nothing_is_known_has_no_running_time() -> None:
    def running(hours: dict[State, int]) -> float | None:
        data = bare(UTC_DAY, UTC_DAY + DAY, states=states(hours, DAY))
        return content_of(data).kpi("running_hours").value

    assert running({"silent": 20, "maintenance": 4}) is None
    assert running({"silent": 20, "off": 4}) == 0.0


def test_three_readings_are_no_estimate_of_a_month() -> None:
    end = START + 29 * DAY
    content = content_of(bare(START, end, steady(START + DAY, START + DAY + 3 * MINUTE), cadence_seconds=60.0))

    (data,) = [one for one in content.advice if one.kind == "data"]
    assert (data.energy_kwh, data.confidence) == (None, "high")
    assert "What was used meanwhile is unknown" in data.text
    assert "estimate" not in data.reason.lower()


def test_what_is_missing_of_a_well_measured_period_is_estimated() -> None:
    content = content_of(bare(START, START + DAY, steady(START, START + 20 * HOUR), cadence_seconds=60.0))
    (data,) = [one for one in content.advice if one.kind == "data"]
    assert data.energy_kwh == pytest.approx(4.0, abs=0.1)
    assert data.confidence == "low"


def test_a_period_without_any_reading_is_something_to_look_at() -> None:
    content = content_of(bare(START, START + DAY, cadence_seconds=60.0))
    (one,) = content.advice
    assert (one.kind, one.confidence) == ("data", "high")
    text = written(content)
    assert "No reading of this period has arrived." in text
    waiting = content_of(bare(START, START + timedelta(1), unexported_days=[START.date()], waiting_days=[START.date()]))
    assert waiting.advice == []  # they have arrived


def test_where_energy_is_unknown_nothing_is_said_to_be_in_order() -> None:
    times = [UTC_DAY + i * MINUTE for i in range(1440)]
    counted = table("D1", times, {"energy_total": [float(i) for i in range(1440)]})
    day_before = (UTC_DAY - DAY).date()
    data = bare(UTC_DAY, UTC_DAY + DAY, counted, waiting_days=[day_before], unexported_days=[day_before])
    text = written(content_of(data))
    assert "nothing is wrong with the readings" not in text
    assert "Energy is unknown, so nothing can be said about saving it." in text
    assert "no power, and its metadata declare no energy register" in text
    assert "not in a file yet. A later report has them" not in text


def test_idling_and_working_hours_are_not_to_be_added() -> None:
    content = content_of(everything())
    kinds = {one.kind for one in content.advice}
    assert {"idle", "outside_hours"} <= kinds
    assert "Their energies overlap, so do not add them." in written(content)
    only = content.model_copy(update={"advice": [one for one in content.advice if one.kind != "idle"]})
    assert "overlap" not in written(only)


def test_files_are_listed_with_their_rows_and_a_full_stop() -> None:
    data = replace(
        house(START, START + DAY),
        datasets=[{"key": "datasets/HOUSE-A/20061217_20061217.parquet", "sha256": "a" * 64, "rows": 1}],
    )
    assert "20061217_20061217.parquet (1 row, aaaaaaaaaaaaaaaaaaa…)." in written(content_of(data))


@pytest.mark.parametrize(("hours", "shown"), [(0.5, "30 min"), (7.98, "7 h 59 min"), (23.999, "1 d"), (374.9, "375 h")])
def test_hours_are_written_as_people_say_them(hours: float, shown: str) -> None:
    assert language("en").hours(hours).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.00062, "0.00062"), (0.00098, "0.00098"), (1.4e-05, "0.000014"), (0.011, "0.011"), (0.5, "0.500"), (0.0, "0")],
)
def test_small_numbers_have_digits_that_people_can_read(value: float, shown: str) -> None:
    assert language("en").figure(value) == shown


@pytest.mark.parametrize(("code", "said"), [("en", "A newer one was to be made"), ("de", "sollte eine neuere")])
def test_an_analysis_that_could_not_be_renewed_says_why(code: LanguageCode, said: str) -> None:
    why = Missing("unfit", "Quality checks found errors in all days.")
    data = everything()
    data = replace(data, analyses={**data.analyses, "anomaly": {**data.analyses["anomaly"], "not_renewed": why}})
    content = compose(Measured.of(data), language(code))
    assert said in written(content)
    (anomaly,) = [one for one in content.analyses if one.type == "anomaly"]
    assert (anomaly.status, anomaly.detail) == ("completed", why.detail)


def test_many_alerts_are_counted_by_rule() -> None:
    alert = house().alerts[0]
    names = ["Too | hot"] * 40 + ["Overcurrent"] * 3
    alerts = [{**alert, "rule": {"rule_name": name}} for name in names]
    text = written(content_of(replace(house(), alerts=alerts)))
    assert "Alerts by rule: - Too | hot: 40 - Overcurrent: 3" in text
    assert "Alerts by rule" not in written(content_of(replace(house(), alerts=alerts[-3:])))
