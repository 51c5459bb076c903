"""What a report says of days that are not in a file, or were deleted, and of checks that failed."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from assets.datasets import export_day, export_month, provenance, retire_datasets
from assets.reports import Missing
from assets.reports.compose import compose
from assets.reports.content import ReportContent
from assets.reports.document import markdown_of
from assets.reports.look import language
from assets.reports.measures import Measured
from assets.reports.sources import gather
from storage import catalogue
from storage.bands import NOMINAL_BANDS
from storage.devices import Counter, Device
from storage.failures import Failure
from storage.jobs import AnalyticsJob, ReportJob, new_job_id
from storage.stores import Stores
from storage.times import midnight
from tests.assets.reports.test_markdown import unescaped
from tests.support.plant import DAY, reading, store
from tests.support.report_factories import DAY as DAY_LONG, HOUR, MINUTE, START, bare, content_of, house, steady, table
from tests.support.report_pictures import everything, sun

ONE_DAY = timedelta(days=1)


def made(stores: Stores, days: int, **metadata: Any) -> ReportContent:
    if stores.session.get(Device, "D1") is None:
        text = json.dumps({"cadence_seconds": 600, **metadata})
        stores.session.add(Device(device_id="D1", device_name="D1", device_type="pump", metadata_json=text))
    job = ReportJob(
        job_id="report-1", device_id="D1", format="json", date_range_start=midnight(DAY),
        date_range_end=midnight(DAY) + days * ONE_DAY, analysis_types=["anomaly"],
    )  # fmt: skip
    return compose(Measured.of(gather(stores, job, "test")))


def sends(stores: Stores, days: int) -> None:
    store(stores, *(reading(minute, power=600.0, voltage=245.0) for minute in range(0, days * 1440, 10)))


def written(content: ReportContent) -> str:
    return " ".join(unescaped(markdown_of(content, ())).split())


def test_readings_that_are_in_no_file_yet_are_not_said_to_be_missing(stores: Stores) -> None:
    sends(stores, 3)
    content = made(stores, 3)
    assert content.data_quality.unexported_days == [DAY, DAY + ONE_DAY, DAY + 2 * ONE_DAY]
    assert (content.data_quality.gaps, content.data_quality.completeness) == ([], None)
    text = written(content)
    assert "The readings of this period are not in this report yet" in text
    assert "has no readings in this period" not in text
    assert "after the file of that day was written" not in text
    assert content.kpi("energy").note == "the readings are not in a file yet"

    export_day(stores, "D1", DAY)
    content = made(stores, 3)
    assert content.data_quality.unexported_days == [DAY + ONE_DAY, DAY + 2 * ONE_DAY]
    assert content.data_quality.completeness == 1
    assert content.data_quality.gaps == []
    assert [day.completeness for day in content.daily] == [1, None, None]
    assert "(UTC) are not in this report: they are not in a file yet" in written(content)


def test_days_that_retention_deleted_are_read_from_the_month(stores: Stores) -> None:
    sends(stores, 4)
    for i in range(4):
        export_day(stores, "D1", DAY + i * ONE_DAY)
    whole = made(stores, 4)
    assert export_month(stores, "D1", DAY.year, DAY.month) is not None
    retire_datasets(stores, 0, DAY + 2 * ONE_DAY)
    content = made(stores, 4)
    assert content.data_quality.readings == whole.data_quality.readings == 4 * 144
    assert (content.data_quality.gaps, content.data_quality.removed_days) == ([], [])
    assert content.kpi("energy").value == whole.kpi("energy").value
    assert len(content.files) == 3  # two days and the month


def test_days_that_retention_deleted_for_good_are_no_gap(stores: Stores) -> None:
    sends(stores, 4)
    for i in range(4):
        export_day(stores, "D1", DAY + i * ONE_DAY)
    retire_datasets(stores, 0, DAY + 2 * ONE_DAY)
    content = made(stores, 4)
    assert content.data_quality.removed_days == [DAY, DAY + ONE_DAY]
    assert (content.data_quality.completeness, content.data_quality.gaps) == (1, [])
    assert "were deleted because of their age" in written(content)


def test_bands_are_those_that_intake_marks_by(stores: Stores) -> None:
    sends(stores, 1)
    export_day(stores, "D1", DAY)
    content = made(stores, 1, bands={"voltage": [230.0, 240.0]})
    voltage, power = content.metric("voltage"), content.metric("power")
    assert voltage is not None
    assert power is not None
    assert (voltage.band, voltage.band_source, voltage.outside_band) == ((230, 240), "device", 1)
    assert (power.band, power.band_source, power.outside_band) == (NOMINAL_BANDS["power"], "usual", 1)
    assert "For power, the nominal bands are the platform's usual ones" in written(content)


def test_no_endpoint_is_in_a_report(stores: Stores) -> None:
    sends(stores, 1)
    text = written(made(stores, 1))
    assert "POST" not in text
    assert "/api/" not in text
    assert "does not include an anomaly analysis: none has been made of any part of the period" in text


def test_checks_that_failed_are_mentioned() -> None:
    failed = {
        "power_consistency": {"status": "warn", "value": 0.07, "detail": "in English"},
        "duplicates": {"status": "error", "value": 0.6, "detail": "in English"},
        "flatline": {"status": "ok", "value": 10, "detail": "in English"},
    }
    worse = {"power_consistency": {"status": "error", "value": 0.9, "detail": "in English"}}
    content = content_of(replace(house(), checks=[(date(2006, 12, 18), failed), (date(2006, 12, 19), worse)]))
    found = {
        check.check: (check.status, check.days, check.checked_days, check.worst)
        for check in content.data_quality.checks
    }
    assert found == {"duplicates": ("error", 1, 1, 0.6), "power_consistency": ("error", 2, 2, 0.9)}
    text = written(content)
    assert "On 2 days of 2: power is greater than voltage times current allows, at worst in 90 %" in text
    assert "in English" not in text


def test_a_check_names_the_measurement_that_stood_still() -> None:
    still = {"flatline": {"status": "warn", "value": 300, "detail": "voltage did not move for 300 min"}}
    data = replace(house(), checks=[(date(2006, 12, 18 + i), still) for i in range(3)])
    assert "On 3 days of 3: voltage did not move for long, at worst for 5 h" in written(content_of(data))
    german = unescaped(markdown_of(compose(Measured.of(data), language("de")), ())).replace("\u00a0", " ")
    assert "An 3 Tagen von 3: die Messgröße Spannung stand lange still, am längsten 5 h, am Mo 18. Dez." in german


def test_usual_bands_are_said_to_be_usual() -> None:
    check = {"out_of_band": {"status": "warn", "value": 0.9, "detail": "in English"}}
    bands = {"voltage": (200.0, 250.0), "power": (0.0, 500.0)}
    data = replace(house(), bands=bands, usual_bands=set(bands), checks=[(date(2006, 12, 18), check)])
    text = written(content_of(data))
    assert "It stayed within the usual band of 200 to 250 V." in text
    assert "outside the platform's usual bands, since the device has none of its own" in text
    assert "| 0 to 500 (usual) |" in text
    own = written(content_of(replace(data, usual_bands=())))
    assert "within the nominal band of 200 to 250 V" in own
    assert "(usual)" not in own


def test_days_that_round_to_the_same_energy_are_not_compared() -> None:
    days = [content_of(house()).daily[i] for i in range(3)]
    even = content_of(house()).model_copy(
        update={"daily": [day.model_copy(update={"energy_kwh": 11.0, "trusted_kwh": 11.0}) for day in days]}
    )
    assert "Energy was highest" not in written(even)
    part = [*content_of(house()).daily, days[0].model_copy(update={"covered_hours": 12.0})]
    assert "Of the days measured as a whole" in written(content_of(house()).model_copy(update={"daily": part}))


def test_a_forecast_of_energy_has_its_months_and_failures_are_mentioned() -> None:
    content = content_of(everything())
    assert content.forecast is not None
    (month,) = content.forecast.months
    text = written(content).replace("\u00a0", " ")
    assert f"For March 2026 (up to Wed 4 Mar, 00:00), {month.expected_kwh:,.0f} kWh are expected" in text
    assert "| March 2026 | Wed 4 Mar, 00:00 | 181.2 kWh | 1,629 kWh | 1,400 kWh to 1,900 kWh |" in text
    assert "Most is expected in the hour from" in text
    assert [failure.repaired_at is None for failure in content.failures] == [False, True]
    assert "2 failures are recorded in this period, the last on Sun 22 Feb, 00:00." in text
    assert "The oil separator was clogged" in text


def test_failures_of_the_period_are_read(stores: Stores) -> None:
    for day in (-1, 0, 1):
        stores.session.add(Failure(device_id="D1", failed_at=midnight(DAY) + day * ONE_DAY, source="api"))
    stores.session.flush()
    assert [failure.failed_at for failure in made(stores, 1).failures] == [midnight(DAY)]


def test_an_episode_lasts_as_long_as_its_sentence_says() -> None:
    data = everything()
    first = content_of(data).anomalies[0]
    assert (first.seconds, first.drivers, first.excess_kwh) == (7500.0, ["power"], 12.0)
    text = written(content_of(data)).replace("\u00a0", " ")
    assert (
        "| 2 h 5 min | power | Power was 12 (24 %) above what is usual, for 2 hours. It used 96.0 kWh meanwhile" in text
    )
    assert "vibration_rms" not in text.lower()
    german = unescaped(markdown_of(compose(Measured.of(data), language("de")), ())).replace("\u00a0", " ")
    assert (
        "3 h 5 min lang anders als sonst; am deutlichsten zeigen es die Messgrößen Schwingung (RMS) und Leis" in german
    )


def test_registers_are_consumption() -> None:
    times = [START + i * HOUR for i in range(25)]
    readings = table("D1", times, {"power": [1000.0] * 25, "energy_total": [500.0 + 2 * i for i in range(25)]})
    data = bare(START, START + 25 * HOUR, readings)
    content = content_of(replace(data, counters={"energy_total": Counter(unit="kWh")}))
    (register,) = content.registers
    assert (register.metric, register.first, register.last, register.unit) == ("energy_total", 500, 548, "kWh")
    assert register.consumption == pytest.approx(48)
    text = written(content)
    assert "| Energy total | 48.0 kWh |" in text.replace("\u00a0", " ")
    assert text.count("Energy total") == 1  # not among the measurements with a mean


def test_alerts_have_the_time_that_they_took() -> None:
    alert = {**house().alerts[0], "status": "acknowledged"}
    raised = alert["created_at"]
    later = (START.fromisoformat(raised) + 9 * MINUTE).isoformat()
    content = content_of(replace(house(), alerts=[{**alert, "acknowledged_at": later}]))
    assert content.alerts[0].seconds_to_acknowledge == 540
    assert content.alert_times.median_seconds_to_acknowledge == 540
    assert "acknowledged after 9\u00a0min" in unescaped(markdown_of(content, ()))


def test_a_steady_report_of_little_has_little_to_say() -> None:
    content = content_of(bare(START, START + 2 * HOUR, steady(START, START + 2 * HOUR)))
    assert content.advice == []
    assert "Nothing stands out that would save energy" in written(content)


def analysed(stores: Stores, days: int, **changes: Any) -> AnalyticsJob:
    """An anomaly analysis of so many days from the files that there are, which found nothing."""
    files = provenance(catalogue.datasets_of(stores.session, "D1", kind="day"))
    job = AnalyticsJob(
        job_id=new_job_id(AnalyticsJob), device_id="D1", analysis_type="anomaly", model_name="isolation_forest",
        status="completed", completed_at=midnight(DAY) + 9 * ONE_DAY, date_range_start=midnight(DAY),
        date_range_end=midnight(DAY) + days * ONE_DAY, accuracy_metrics={},
        results={"events": [], "provenance": {"datasets": files}}, **changes,
    )  # fmt: skip
    stores.session.add(job)
    stores.session.flush()
    return job


def test_an_analysis_that_is_older_than_its_data_is_said_to_be(stores: Stores) -> None:
    sends(stores, 3)
    for i in range(3):
        export_day(stores, "D1", DAY + i * ONE_DAY)
    analysed(stores, 3)
    content = made(stores, 3)
    assert [analysis.changed_days for analysis in content.analyses] == [0]
    assert "changed since" not in written(content)

    store(stores, reading(1500, power=9000.0))
    export_day(stores, "D1", DAY + ONE_DAY)
    content = made(stores, 3)
    assert [analysis.changed_days for analysis in content.analyses] == [1]
    text = written(content)
    assert "The data have changed since these analyses were made: anomaly. Have them made again" in text
    assert "The readings of one of the days that this rests on have changed since then" in text
    assert "Have the analysis made again, and then this report." in text


def test_a_day_that_was_left_out_or_added_since(stores: Stores) -> None:
    sends(stores, 3)
    for i in range(2):
        export_day(stores, "D1", DAY + i * ONE_DAY)
    job = analysed(stores, 3)
    assert job.results is not None
    export_day(stores, "D1", DAY + 2 * ONE_DAY)
    assert made(stores, 3).analyses[0].changed_days == 1
    job.results = {**job.results, "left_out_days": [{"date": str(DAY + 2 * ONE_DAY), "reason": "errors"}]}
    stores.session.add(job)
    assert made(stores, 3).analyses[0].changed_days == 0


def test_an_analysis_of_a_part_of_the_period_does_not_speak_for_all_of_it(stores: Stores) -> None:
    sends(stores, 4)
    for i in range(4):
        export_day(stores, "D1", DAY + i * ONE_DAY)
    analysed(stores, 2)
    text = written(made(stores, 4))
    assert "the rest of the period was not analysed" in text
    assert "No unusual behaviour was found in that time." in text
    assert "The anomaly analysis found nothing unusual." not in text
    assert "No unusual behaviour was found in this period." in written(made(stores, 2))


def test_methods_are_named_in_plain_words_and_models_among_the_sources(stores: Stores) -> None:
    sends(stores, 2)
    export_day(stores, "D1", DAY)
    analysed(stores, 1)
    for content in (made(stores, 1), content_of(house())):
        before, _, sources = written(content).partition("# Methods and sources")
        assert "The readings were compared with what is usual for the device" in before
        assert not re.search(r"isolation|forest|\.parquet|datasets/|job-", before, re.IGNORECASE)
        assert "isolation_forest" in sources


def test_a_reason_is_told_plainly_and_what_the_analysis_said_is_in_the_json() -> None:
    detail = 'D1 has no dataset. POST /api/v1/exports/run makes one. Set "with_errors": true.'
    missing = {"missing": Missing("no_readings", detail)}
    content = content_of(bare(START, START + HOUR, steady(START, START + HOUR), analyses={"forecast": missing}))
    assert content.analysis("forecast").detail == detail  # type: ignore[union-attr] # it is there
    before, _, sources = written(content).partition("# Methods and sources")
    assert "does not include a forecast: there are no readings that it could be made from." in before
    assert "POST" not in before + sources
    assert "Forecast (missing): there are no readings that it could be made from. The JSON report has" in sources


def test_a_device_that_feeds_in_has_what_it_fed_in_by_day() -> None:
    content = content_of(sun())
    text = written(content).replace("\u00a0", " ")
    assert "| Day | Taken (kWh) | Fed in (kWh) | Measured |" in text
    fed = content.kpi("energy_export").value
    assert fed is not None
    assert sum(day.energy_export_kwh or 0 for day in content.daily) == pytest.approx(fed)
    assert "Running time" not in text.partition("# Methods")[0], "it says nothing of a device that feeds in"


def test_energy_that_a_meter_counted_over_a_gap_is_not_said_to_be_missing() -> None:
    times = [START + i * MINUTE for i in range(3 * 1440) if not 1000 <= i < 1600]
    energy = [500.0 + (time - START) / HOUR for time in times]
    readings = table("D1", times, {"energy_total": energy})
    counters = {"energy_total": Counter(unit="kWh")}
    data = bare(START, START + 3 * DAY_LONG, readings, counters=counters, cadence_seconds=60.0)
    (advice,) = (one for one in content_of(data).advice if one.kind == "data")
    assert advice.figures["counted_kwh"] == pytest.approx(10, rel=0.02)
    assert "The meter counted on: 10.0 kWh are in the figures" in advice.text.replace("\u00a0", " ")
