"""Corrections: energy, statistics, telemetry and files hold them at once, and are as before when they are undone."""

import dataclasses
import hashlib
import json
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings as options, strategies as st
from sqlalchemy import text
from sqlmodel import Session

from assets.datasets import change_of, export_day, export_range, refresh_energy, retire_datasets
from assets.datasets.files import dataset_key, parquet, raw_file, read
from assets.energy.corrections import Corrections
from assets.reports.compose import compose
from assets.reports.document import markdown_of
from assets.reports.measures import Measured
from assets.reports.sources import gather
from storage import corrections
from storage.catalogue import current
from storage.corrections import CorrectionAction
from storage.devices import Device
from storage.jobs import ReportJob
from storage.settings import Settings
from storage.stores import Stores, open_telemetry_store
from storage.times import DAY as ONE_DAY, HOUR, midnight, moment
from tests.support.correcting import correct, correction, figures, files, reader, undo
from tests.support.plant import DAY, DAY_MINUTES, START, reading, store

NEXT = DAY + timedelta(days=1)
KEY = f"datasets/D1/{DAY:%Y%m%d}_{DAY:%Y%m%d}.parquet"


def register(minute: float) -> float:
    return 7000 + minute / 60


def declare(stores: Stores, **metadata: Any) -> None:
    stores.session.add(Device(device_id="D1", device_name="D1", device_type="pump", metadata_json=json.dumps(metadata)))


def plant(stores: Stores) -> None:
    """Two days of a device that draws 1 kW: power and a register every five minutes, and a temperature."""
    declare(stores, counters={"kwh": {"unit": "kWh"}}, cadence_seconds=300)
    minutes = range(0, 2 * DAY_MINUTES, 5)
    store(
        stores,
        *(reading(m, power=1000, voltage=230, current=5, temperature=40, kwh=register(m)) for m in minutes),
    )


def power_plant(stores: Stores) -> None:
    """The same without a register."""
    store(stores, *(reading(m, power=1000, temperature=40) for m in range(0, 2 * DAY_MINUTES, 5)))


def seen(stores: Stores) -> tuple[Any, ...]:
    """All that answers show of both days."""
    energy, statistics = figures(stores, DAY, 2)
    return energy.kwh, energy.export_kwh, energy.coverage, energy.peak_demand, energy.findings, statistics


def test_a_gauge_is_excluded_or_replaced_at_once_and_in_the_file(stores: Stores) -> None:
    power_plant(stores)
    before, original = seen(stores), files(stores, DAY, NEXT)
    excluded = correct(stores, correction("power", "exclude", 60, 120))
    replaced = correct(stores, correction("power", "replace", 90, 100, 4000.0))
    energy, statistics = figures(stores, DAY, 2)
    # From 00:55 to 01:30 and from 01:35 to 02:00 nothing is known, since the readings are further apart than 15 min.
    assert statistics.metrics["power"].count == 576 - 10
    assert statistics.metrics["power"].max == 4000
    assert statistics.readings == 576
    assert energy.coverage < before[2]
    at_once = seen(stores)
    made = files(stores, DAY, NEXT)
    assert made[1] == original[1]
    row = current(stores.session, KEY)
    assert row is not None
    table = read(stores.objects, [row])
    assert table["power"].to_pylist()[11:21] == [1000, *[None] * 6, 4000, 4000, None]
    assert table["corrected"].to_pylist()[11:25] == [False, *[True] * 12, False]
    assert read(stores.objects, [raw_file(row)])["power"].to_pylist()[11:25] == [1000] * 14
    assert seen(stores) == at_once
    for one in (excluded, replaced):
        undo(stores, one)
    assert seen(stores) == before
    assert files(stores, DAY, NEXT) == original
    assert seen(stores) == before
    assert [o.key for o in stores.objects.list("raw")] == []


def test_telemetry_stays_raw_unless_corrected_is_asked_for(stores: Stores) -> None:
    power_plant(stores)
    files(stores, DAY)
    correct(stores, correction("power", "replace", 0, 10, 5.0))
    for made in (False, True):
        if made:
            files(stores, DAY)
        one, start = reader(stores), correction("power", "exclude", 0, 15)
        since, until = Corrections([start]).pieces("power")[0].of
        raw, corrected = one.read("D1", since, until), one.corrected().read("D1", since, until)
        assert raw["power"].to_pylist() == [1000, 1000, 1000]
        assert raw.column_names == ["time", "voltage", "current", "power", "temperature"]
        assert corrected["power"].to_pylist() == [5, 5, 1000]
        assert corrected["corrected"].to_pylist() == [True, True, False]
        windows = one.corrected().aggregate("D1", since, until, function="max", every=until - since)
        assert windows["power"].to_pylist() == [1000]
        newest = one.corrected().read_with_context("D1", since, until, newest=2)
        assert newest["power"].to_pylist() == [5, 1000]


def test_a_power_factor_follows_what_it_was_derived_from(stores: Stores) -> None:
    store(stores, *(reading(m, power=230, voltage=230, current=2) for m in range(3)), reading(3, power_factor=0.9))
    correct(stores, correction("power", "replace", 1, 2, 115.0))
    files(stores, DAY)
    row = current(stores.session, KEY)
    assert row is not None
    assert read(stores.objects, [row])["power_factor"].to_pylist() == [0.5, 0.25, 0.5, 0.9]


def test_a_counter_counts_the_given_amount_and_nothing_else_changes(stores: Stores) -> None:
    plant(stores)
    before = [figures(stores, day)[0].kwh for day in (DAY, NEXT)]
    # An hour before midnight and one after it, with edges between readings and between quarter hours.
    correct(stores, correction("kwh", "replace", DAY_MINUTES - 62.5, DAY_MINUTES + 57.5, 12.0, unit="kWh"))
    for made in (False, True):
        if made:
            files(stores, DAY, NEXT)
        both = figures(stores, DAY, 2)[0]
        halves = [figures(stores, day)[0].kwh for day in (DAY, NEXT)]
        assert both.kwh == pytest.approx((before[0] or 0) + (before[1] or 0) + 10)
        assert halves[0] == pytest.approx((before[0] or 0) - 62.5 / 60 + 6.25)
        assert (halves[0] or 0) + (halves[1] or 0) == pytest.approx(both.kwh, abs=1e-9)
        assert both.coverage == pytest.approx(figures(stores, DAY, 2)[0].coverage)
    row = current(stores.session, KEY)
    assert row is not None
    assert read(stores.objects, [row])["kwh"].null_count == 12


def test_a_replaced_range_within_a_gap_leaves_the_rest_of_what_the_register_counted(stores: Stores) -> None:
    declare(stores, counters={"kwh": {"unit": "kWh"}})
    minutes = [*range(0, 300, 5), *range(900, 1440, 5)]
    store(stores, *(reading(m, kwh=register(m)) for m in minutes))
    total = figures(stores, DAY)[0].kwh
    inside = correct(stores, correction("kwh", "replace", 600, 660, 3.0, unit="kWh"))
    energy = figures(stores, DAY)[0]
    assert energy.kwh == pytest.approx(total)
    assert energy.part(energy.start + 10 * HOUR, energy.start + 11 * HOUR).kwh == pytest.approx(3)
    undo(stores, inside)
    # A range that begins in the gap and ends after it: what the register counted before it is unknown then.
    correct(stores, correction("kwh", "replace", 600, 960, 3.0, unit="kWh"))
    assert figures(stores, DAY)[0].kwh == pytest.approx((total or 0) - 605 / 60 - 60 / 60 + 3)


def test_a_gap_that_is_cut_stays_noticed_as_not_counted(stores: Stores) -> None:
    declare(stores, counters={"kwh": {"unit": "kWh"}})
    store(stores, *(reading(m, kwh=register(m)) for m in [*range(0, 300, 5), *range(900, 1440, 5)]))

    def gap() -> tuple[bool, float | None] | None:
        found = [f for f in figures(stores, DAY)[0].findings if f.kind == "gap"]
        assert not any("which is counted" in f.detail and not f.counted for f in found)
        return (found[0].counted, round(found[0].effect or 0, 2)) if found else None

    amount = round(605 / 60, 2)
    assert gap() == (True, amount)
    for since, until, left in [
        (600, 660, (True, round(amount - 3, 2))),  # within the gap
        (600, 960, (False, amount)),  # its end
        (200, 400, (False, amount)),  # its beginning
        (290, 910, None),  # all of it
    ]:
        row = correct(stores, correction("kwh", "replace", since, until, 3.0, unit="kWh"))
        assert gap() == left
        undo(stores, row)
    assert gap() == (True, amount)


def test_a_preview_shows_every_finding_that_changes(stores: Stores) -> None:
    """Of more than 20 alike the one between the first and the last tells of one less."""
    declare(stores, counters={"kwh": {"unit": "kWh"}})
    store(stores, *(reading(m, kwh=register(m) - 1.05 * (m // 60)) for m in range(0, 1440, 5)))
    before = figures(stores, DAY)[0]
    [first, *_] = before.findings
    row = correction("kwh", "confirm", 60, 60.001)
    change = change_of(stores.session, reader(stores), row, [], stores.zone)
    correct(stores, row)
    after = figures(stores, DAY)[0]
    assert (first.kind, after.kwh) == ("correction", before.kwh)
    assert set(change.removed) == set(before.findings) - set(after.findings) != set()
    assert set(change.added) == set(after.findings) - set(before.findings) != set()


@pytest.mark.parametrize(
    ("values", "kind", "counted"),
    [
        ([(600, 9000.0)], "outlier", 0),
        ([(m, register(m) + 5000) for m in range(600, 1440, 5)], "jump", 5000),
        ([(m, 300 + m / 60) for m in range(600, 1440, 5)], "meter_change", 0),
        ([(m, (m - 600) / 60) for m in range(600, 1440, 5)], "reset", 0),
    ],
)
def test_what_is_confirmed_is_no_longer_noticed(
    stores: Stores, values: list[tuple[float, float]], kind: str, counted: float
) -> None:
    declare(stores, counters={"kwh": {"unit": "kWh"}})
    others = dict(values)
    store(stores, *(reading(m, kwh=others.get(m, register(m))) for m in range(0, 1440, 5)))
    before = figures(stores, DAY)[0]
    [finding] = [f for f in before.findings if f.kind == kind]
    suggested = finding.correction
    assert suggested is not None
    assert suggested.start <= finding.at < suggested.end
    original = seen(stores)
    made = correct(stores, correction("kwh", "confirm", 600, 600.001))
    after = figures(stores, DAY)[0]
    assert [f for f in after.findings if f.kind == kind] == []
    if kind != "outlier":  # a spike that is confirmed falls again, which is noticed
        assert after.findings == ()
        assert after.kwh == pytest.approx((before.kwh or 0) + counted, abs=0.1)
    undo(stores, made)
    assert seen(stores) == original


def test_a_reading_beyond_max_power_counts_once_it_is_confirmed(stores: Stores) -> None:
    stores.session.add(Device(device_id="D1", device_name="D1", device_type="p", metadata_json='{"max_power_w": 2000}'))
    store(stores, *(reading(m, power=9000 if m == 600 else 1000) for m in range(0, 1440, 5)))
    files(stores, DAY)
    assert [f.kind for f in figures(stores, DAY)[0].findings] == ["beyond_max_power"]
    correct(stores, correction("power", "confirm", 600, 601))
    for made in (False, True):
        if made:
            content = stores.objects.get(KEY)
            assert files(stores, DAY) == [content]  # what is confirmed changes no reading
        energy = figures(stores, DAY)[0]
        assert energy.findings == ()
        assert energy.kwh == pytest.approx(1435 / 60 + 8 * 5 / 60)


@pytest.mark.parametrize("late", [False, True])
def test_undone_after_retention_has_deleted_the_readings(stores: Stores, *, late: bool) -> None:
    plant(stores)
    before, original = seen(stores), files(stores, DAY, NEXT)
    stores.session.execute(text("DELETE FROM device_telemetry"))
    stores.session.execute(text("UPDATE touched_days SET expired_at = now()"))
    stores.session.commit()
    assert seen(stores) == before
    made = [
        correct(stores, correction("kwh", "exclude", 700, 800)),
        correct(stores, correction("temperature", "replace", 700, DAY_MINUTES + 3, 20.0)),
        correct(stores, correction("power", "exclude", 0, DAY_MINUTES)),
    ]
    at_once = seen(stores)
    assert at_once != before
    assert files(stores, DAY, NEXT) != original
    assert seen(stores) == at_once
    assert figures(stores, DAY, 2)[1].metrics["temperature"].min == 20
    if late:
        store(stores, reading(1, temperature=11))
        files(stores, DAY)
    for row in made:
        undo(stores, row)
    if late:
        files(stores, DAY, NEXT)
        assert figures(stores, DAY, 2)[1].readings == 577
        assert figures(stores, DAY, 2)[1].metrics["temperature"].min == 11
        assert figures(stores, DAY, 2)[1].metrics["power"].count == 576
    else:
        assert seen(stores) == before
        assert files(stores, DAY, NEXT) == original
        assert seen(stores) == before
    assert list(stores.objects.list("raw")) == []


def test_a_file_of_an_earlier_release_has_no_column_and_gets_it_back(stores: Stores) -> None:
    """Without the column, and only in a file: as after an upgrade and retention."""
    power_plant(stores)
    files(stores, DAY)
    row = current(stores.session, KEY)
    assert row is not None
    content = parquet(read(stores.objects, [row]).drop_columns(["corrected"]))
    stores.objects.put(KEY, content)
    row.sha256, row.bytes = hashlib.sha256(content).hexdigest(), len(content)
    stores.session.execute(text("DELETE FROM device_telemetry"))
    stores.session.execute(text("UPDATE touched_days SET expired_at = now()"))
    stores.session.commit()
    made = correct(stores, correction("power", "exclude", 0, 60))
    files(stores, DAY)
    row = current(stores.session, KEY)
    assert row is not None
    table = read(stores.objects, [row])
    assert table.column_names[-1] == "corrected"
    assert table["corrected"].to_pylist().count(True) == 12
    undo(stores, made)
    assert files(stores, DAY) == [content]


def test_a_range_over_a_metric_that_is_excluded_and_a_file_of_an_earlier_release(stores: Stores) -> None:
    store(stores, *(reading(m, power=1, vibration=2.0) for m in range(3)), reading(DAY_MINUTES, power=1))
    correct(stores, correction("vibration", "exclude", 0, 60))
    files(stores, DAY, NEXT)
    row = current(stores.session, dataset_key("D1", NEXT, NEXT))
    assert row is not None
    content = parquet(read(stores.objects, [row]).drop_columns(["corrected"]))
    stores.objects.put(row.key, content)
    row.sha256, row.bytes = hashlib.sha256(content).hexdigest(), len(content)
    stores.session.commit()
    table = read(stores.objects, [export_range(stores, "D1", DAY, NEXT).dataset])
    assert table["vibration"].to_pylist() == [None] * 4
    assert table["corrected"].to_pylist() == [True, True, True, False]


def test_files_and_raw_files_are_deleted_together(stores: Stores) -> None:
    power_plant(stores)
    correct(stores, correction("power", "exclude", 0, 60))
    files(stores, DAY)
    assert len(list(stores.objects.list("raw"))) == 1
    retire_datasets(stores, 1, NEXT + timedelta(days=5))
    assert list(stores.objects.list("raw")) == list(stores.objects.list("datasets")) == []


def test_a_refill_of_the_catalogue_keeps_corrections(stores: Stores) -> None:
    plant(stores)
    correct(stores, correction("kwh", "exclude", 700, 800))
    correct(stores, correction("power", "replace", 0, 100, 3.0))
    files(stores, DAY, NEXT)
    expected = current(stores.session, KEY)
    assert expected is not None
    kept = json.dumps(expected.energy, sort_keys=True)
    stores.session.execute(text("""UPDATE datasets SET energy = energy || '{"version": 0}'"""))
    stores.session.commit()
    stores.session.expire_all()
    refresh_energy(stores)
    again = current(stores.session, KEY)
    assert again is not None
    assert json.dumps(again.energy, sort_keys=True) == kept


def test_an_export_that_claimed_a_day_before_the_correction_was_committed_sees_it_later(
    stores: Stores, session: Session
) -> None:
    power_plant(stores)
    files(stores, DAY)
    store(stores, reading(1, power=1000))  # the day is dirty, so an export may claim it at any moment
    corrections.add(session, correction("power", "exclude", 0, 60))
    stores.session.execute(text("SET lock_timeout = '200ms'"))
    with pytest.raises(Exception, match="lock timeout"):  # the claim waits for the commit
        export_day(stores, "D1", DAY)
    session.commit()
    export_day(stores, "D1", DAY)
    row = current(stores.session, KEY)
    assert row is not None
    assert read(stores.objects, [row])["corrected"].to_pylist().count(True) == 13


@pytest.mark.slow
def test_corrections_over_influxdb(
    stores: Stores, influxdb_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**influxdb_server, "INFLUXDB_BUCKET": "corrections"}.items():
        monkeypatch.setenv(name, value)
    telemetry = open_telemetry_store(Settings.load())
    influx = dataclasses.replace(stores, telemetry=telemetry)
    plant(influx)
    before = seen(influx)
    made = [
        correct(influx, correction("power", "exclude", 60, 120)),
        correct(influx, correction("kwh", "replace", 70, 130, 4.0, unit="kWh")),
    ]
    at_once = seen(influx)
    assert at_once[0] == pytest.approx(before[0] + 3)
    assert at_once[-1].metrics["power"].count == 576 - 12
    corrected = reader(influx).corrected().aggregate("D1", START, START + ONE_DAY, function="count", every=ONE_DAY)
    assert corrected["power"].to_pylist() == [288 - 12]
    made_files = files(influx, DAY, NEXT)
    assert seen(influx) == at_once
    for row in made:
        undo(influx, row)
    assert seen(influx) == before
    assert files(influx, DAY, NEXT) != made_files
    assert seen(influx) == before
    telemetry.close()


Made = tuple[str, CorrectionAction, int, int, float]


def some_corrections() -> st.SearchStrategy[list[Made]]:
    one: st.SearchStrategy[Made] = st.tuples(
        st.sampled_from(["power", "kwh", "temperature"]),
        st.sampled_from(get_args(CorrectionAction)),
        st.integers(-100, 2 * DAY_MINUTES),
        st.integers(1, 2000),
        st.floats(0, 50),
    )
    return st.lists(one, min_size=1, max_size=5)


@pytest.fixture
def faulty_plant(stores: Stores) -> Stores:
    plant(stores)
    store(stores, reading(700.5, kwh=9999), *(reading(m, kwh=register(m) + 800) for m in range(2000, 2880, 5)))
    return stores


@pytest.mark.slow
@options(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],  # each example takes seconds, so that shrinking would take long
)
@given(some_corrections(), st.data())
def test_undoing_all_gives_what_was_and_a_preview_tells_what_comes(
    faulty_plant: Stores, made: list[Made], data: st.DataObject
) -> None:
    stores = faulty_plant
    for row in corrections.active(stores.session, "D1"):  # of an example that failed
        undo(stores, row)
    before, original = seen(stores), files(stores, DAY, NEXT)
    rows = []
    for metric, action, start, length, value in made:
        unit = "kWh" if metric == "kwh" and action == "replace" else None
        row = correction(metric, action, start, start + length, value if action == "replace" else None, unit=unit)
        active = corrections.active(stores.session, "D1")
        change = change_of(stores.session, reader(stores), row, active, stores.zone)
        rows.append(correct(stores, row))
        days = (change.end - change.start) // ONE_DAY
        energy, statistics = figures(stores, moment(change.start).date(), days)
        shown = change.after
        assert (energy.kwh, energy.coverage, energy.peak_demand) == (shown.kwh, shown.coverage, shown.peak_demand)
        assert energy.consumption == shown.consumption
        assert statistics.metrics.get(metric) == change.statistics_after
        if data.draw(st.booleans()):
            at_once = seen(stores)
            files(stores, DAY, NEXT)
            assert seen(stores) == at_once
    for row in data.draw(st.permutations(rows)):
        undo(stores, row)
        if data.draw(st.booleans()):
            at_once = seen(stores)
            files(stores, DAY, NEXT)
            assert seen(stores) == at_once
    assert seen(stores) == before
    assert files(stores, DAY, NEXT) == original


def test_a_report_says_what_was_corrected_and_how_to_correct_what_was_noticed(stores: Stores) -> None:
    declare(stores, counters={"kwh": {"unit": "kWh"}})
    jumped = {m: register(m) + 5000 for m in range(600, 1440, 5)}
    store(stores, *(reading(m, kwh=jumped.get(m, register(m)), temperature=40) for m in range(0, 1440, 5)))
    made = correct(stores, correction("temperature", "replace", 60, 70, 21.5))
    files(stores, DAY)
    job = ReportJob(
        job_id="report-1", device_id="D1", format="json", date_range_start=midnight(DAY),
        date_range_end=midnight(NEXT), analysis_types=[],
    )  # fmt: skip
    content = compose(Measured.of(gather(stores, job, "test")))
    [noted] = content.data_quality.corrections
    assert (noted.action, noted.value, noted.reason, noted.created_by) == ("replace", 21.5, "a test", "me")
    [summary] = [metric for metric in content.metrics if metric.metric == "temperature"]
    assert summary.min == 21.5
    [finding] = content.data_quality.findings
    suggested = finding.correction
    assert suggested is not None
    assert (suggested.metric, suggested.action, suggested.start) == ("kwh", "confirm", finding.start)
    assert "by me\\: a test" in markdown_of(content, set())
    before = content.daily[0].energy_kwh
    correct(stores, correction("kwh", "confirm", 600, 600.001))
    undo(stores, made)
    files(stores, DAY)
    content = compose(Measured.of(gather(stores, job, "test")))
    assert content.daily[0].energy_kwh == figures(stores, DAY)[0].kwh != before
    assert content.data_quality.findings == []
