import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.analyses import AnomalyParameters, CannotAnalyse, DeviceContext, Result, analyse
from assets.analyses.events import lasting, runs, threshold
from assets.analyses.features import drifts
from assets.analyses.label import Label
from storage.settings import CHECKOUT

SERIES = CHECKOUT / "cli" / "demo" / "house-a.csv.gz"
METRICS = ("voltage", "current", "power", "reactive_power")
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def house() -> pd.DataFrame:
    rows = pd.read_csv(SERIES)
    return rows.assign(time=pd.to_datetime(rows["timestamp"], utc=True))


def as_table(rows: pd.DataFrame) -> pa.Table:
    return table(rows["time"].tolist(), {name: [*map(float, rows[name])] for name in METRICS})


def table(times: list[Any], columns: dict[str, list[float | None]]) -> pa.Table:
    """A dataset's columns, the named metrics null where not given."""
    null = [None] * len(times)
    data = {name: columns.get(name, null) for name in ("voltage", "current", "power", "temperature", *columns)}
    return pa.table(
        {
            "timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
            "device_id": ["D1"] * len(times),
            **{name: pa.array(values, pa.float64()) for name, values in data.items()},
            "hour": pa.array([time.hour for time in times], pa.int8()),
            "is_weekend": [False] * len(times),
        }
    )


def minutes(count: int) -> list[datetime]:
    return [START + timedelta(minutes=i) for i in range(count)]


def anomalies(rows: pa.Table, model: str = "isolation_forest", **parameters: Any) -> Result:
    return analyse("anomaly", model, rows, AnomalyParameters(**parameters), lambda percent, words: None)


def found_and_false(result: Result, rows: pd.DataFrame, since: int) -> tuple[int, int, float]:
    """Faults found, faults there, and the share of good rows since a row that lie in an event."""
    flagged = np.zeros(len(rows), bool)
    for event in result.results["events"]:
        flagged |= ((rows["time"] >= event["start"]) & (rows["time"] <= event["end"])).to_numpy()
    faulty = rows["anomaly"].to_numpy() == 1
    edges = np.flatnonzero(np.diff(np.r_[0, faulty.astype(int), 0])).reshape(-1, 2)
    judged = np.arange(len(rows)) >= since
    return sum(bool(flagged[a:b].any()) for a, b in edges), len(edges), float(flagged[judged & ~faulty].mean())


@pytest.mark.slow
def test_faults_are_found_among_what_is_learnt_from(house: pd.DataFrame) -> None:
    found, _, false = found_and_false(anomalies(as_table(house)), house, 0)
    assert found >= 16
    assert false < 0.02


@pytest.mark.slow
def test_the_autoencoder_finds_faults(house: pd.DataFrame) -> None:
    fitted = int(0.4 * len(house))
    result = anomalies(as_table(house), "autoencoder", trained_until=house["time"][fitted])
    found, _, false = found_and_false(result, house, fitted)
    assert found >= 14
    assert false < 0.05


@pytest.mark.slow
def test_what_came_later_does_not_move_the_threshold(house: pd.DataFrame) -> None:
    """A leak would show: the scores before `trained_until` are the same whatever comes after."""
    rows = house.iloc[:4000].copy()
    until = rows["time"].iloc[2000]
    other = rows.copy()
    other.loc[other.index >= 2600, list(METRICS)] *= 3.0
    before, after = (anomalies(as_table(these), trained_until=until) for these in (rows, other))
    assert _before(before, rows["time"].iloc[2600]) == _before(after, rows["time"].iloc[2600])
    assert len(after.results["anomalies"]) >= 1000 > len(before.results["anomalies"])


def test_an_anomaly_has_the_fields_of_the_contract(house: pd.DataFrame) -> None:
    result = anomalies(as_table(house.iloc[12000:16000]))
    assert result.results["anomalies"]
    for anomaly in result.results["anomalies"]:
        assert datetime.fromisoformat(anomaly["timestamp"]).tzinfo
        assert anomaly["is_anomaly"] is True
        assert 0.5 <= anomaly["anomaly_score"] <= 1
    for event in result.results["events"]:
        assert event["start"] <= event["peak"] <= event["end"]
        assert event["metric"] in METRICS
    assert result.accuracy_metrics["precision"] is None
    assert "labels" in result.accuracy_metrics["reason"]


def test_what_a_result_leaves_out_is_counted(house: pd.DataFrame) -> None:
    result = anomalies(as_table(house), strictness=0.5)
    summary = result.results["summary"]
    assert len(result.results["anomalies"]) == 1000
    assert summary["anomalies_left_out"] == summary["anomalous_rows"] - 1000 > 0


def test_a_spike_in_a_lone_series_is_found() -> None:
    random = np.random.default_rng(3)
    values = 50 + np.sin(np.arange(1500) / 100) + random.normal(0, 0.2, 1500)
    values[1200:1210] += 8
    found = anomalies(table(minutes(1500), {"temperature": values.tolist()})).results["events"]
    strongest = max(found, key=lambda event: event["score"])
    assert strongest["metric"] == "temperature"
    assert abs(datetime.fromisoformat(strongest["start"]) - (START + timedelta(minutes=1200))) < timedelta(minutes=5)


def test_channels_that_say_nothing_are_named_with_the_reason() -> None:
    random = np.random.default_rng(3)
    noise = random.normal(0, 1, (2, 600))
    columns: dict[str, list[float | None]] = {
        "pressure": noise[0].tolist(),
        "flow": noise[1].tolist(),
        "setting": [1.0] * 600,
        "seldom": [1.0 if i % 20 == 0 else None for i in range(600)],
        "warming": np.linspace(0, 50, 600).tolist(),
    }
    left_out = anomalies(table(minutes(600), columns)).results["left_out"]
    assert left_out["setting"] == "constant"
    assert "half" in left_out["seldom"]
    assert "drift" in left_out["warming"]
    assert set(left_out) == {"setting", "seldom", "warming"}


def test_metrics_that_arrive_in_turn_are_one_device() -> None:
    random = np.random.default_rng(3)
    even = [float(random.normal()) if i % 2 == 0 else None for i in range(800)]
    odd = [float(random.normal()) if i % 2 else None for i in range(800)]
    assert anomalies(table(minutes(800), {"a": even, "b": odd})).results["left_out"] == {}


def test_a_long_history_is_worked_on_as_means_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.datasets.means.MAX_ROWS", 500)
    random = np.random.default_rng(3)
    result = anomalies(table(minutes(1500), {"a": random.normal(size=1500).tolist()}))
    assert result.results["summary"]["worked_on_means_of_seconds"] == 300
    assert result.results["summary"]["rows"] == 300


def test_cancelling_ends_the_work(house: pd.DataFrame) -> None:
    def cancelled(percent: float, words: str) -> None:
        if percent > 20:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        analyse("anomaly", "isolation_forest", as_table(house.iloc[:500]), AnomalyParameters(), cancelled)


def _before(result: Result, moment: datetime) -> list[dict[str, Any]]:
    """Events without their relative scores that ended some time before a moment."""
    known = [{k: e[k] for k in ("start", "end", "peak", "shown_by")} for e in result.results["events"]]
    return [event for event in known if datetime.fromisoformat(event["end"]) < moment - timedelta(minutes=30)]


@pytest.mark.parametrize("trusted", [True, False])
def test_usual_rows_stay_within_the_alert_budget(*, trusted: bool) -> None:
    """Of the first three weeks the threshold is learnt; other weeks hold it, whatever the scores look like."""
    random = np.random.default_rng(5)
    for scores in (random.normal(0, 1, 60_480), random.gamma(3, 1, 60_480)):
        learnt, later = np.split(scores, 2)
        limit = threshold(learnt, timedelta(days=21), 0.5, trusted=trusted)
        assert len(runs(lasting(later > limit))) <= 3


def test_faults_among_the_rows_hardly_move_the_threshold() -> None:
    random = np.random.default_rng(5)
    good = random.normal(0, 1, 10_000)
    bad = np.concatenate([good, np.full(500, 50.0)])
    limits = [threshold(scores, timedelta(days=7), 0.5, trusted=False) for scores in (good, bad)]
    assert limits[1] == pytest.approx(limits[0], rel=0.15)


def test_a_larger_budget_lowers_the_threshold() -> None:
    scores = np.random.default_rng(5).normal(0, 1, 30_240)
    limits = [threshold(scores, timedelta(days=21), budget, trusted=False) for budget in (0.5, 5, 50)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > limits[2]


def test_the_peaks_of_a_daily_course_are_not_beyond_the_threshold() -> None:
    """Four weeks of scores that follow the day: the budget alone would make events of the highest peaks."""
    heights = np.repeat([0.9, 1.3], [24, 4])  # four sunny days
    scores = np.concatenate([height * np.maximum(np.sin(np.arange(144) * 2 * np.pi / 144), 0) for height in heights])
    limit = threshold(scores, timedelta(days=28), 1.0, trusted=False)
    assert not (scores > limit).any()


def test_one_row_is_not_an_event() -> None:
    flags = np.zeros(20, bool)
    flags[[3, 10, 11]] = True
    assert np.flatnonzero(lasting(flags)).tolist() == [10, 11]


def noisy(rows: int, *names: str) -> dict[str, list[float | None]]:
    random = np.random.default_rng(11)
    return {name: random.normal(50, 2, rows).tolist() for name in names}


def test_frozen_channels_are_an_event_of_their_own() -> None:
    columns = noisy(3000, "pressure", "flow")
    for values in columns.values():
        values[2000:2600] = [values[2000]] * 600
    events = anomalies(table(minutes(3000), columns)).results["events"]
    strongest = max(events, key=lambda event: event["score"])
    assert strongest["kind"] == "frozen"
    assert strongest["start"] == "2026-01-02T09:20:00Z"
    assert strongest["why"] == "All metrics held exactly the same values for 10 hours."
    assert strongest["points"] == 600


def test_a_machine_that_is_off_or_on_and_once_runs_far_above_is_one_event() -> None:
    """Two levels make the usual spread as wide as the range, so the fault is less than one spread outside."""
    random = np.random.default_rng(1)
    on = np.arange(28 * 288) % 288 // 12 % 24 // 8 == 1
    power = np.where(on, random.normal(11_000, 500, len(on)), random.normal(150, 10, len(on)))
    power[20 * 288 + 100 : 20 * 288 + 124] += 8_000
    current = power / 400 + random.normal(0, 0.05, len(on))
    voltage = random.normal(400, 2, len(on))
    columns = {"power": power.tolist(), "current": current.tolist(), "voltage": voltage.tolist()}
    times = [START + timedelta(minutes=5 * i) for i in range(len(on))]
    (event,) = anomalies(table(times, columns)).results["events"]
    assert (event["start"], event["end"]) == ("2026-01-21T08:20:00Z", "2026-01-21T10:15:00Z")


def test_a_machine_that_rests_every_night_is_not_frozen() -> None:
    columns = noisy(5 * 1440, "power", "speed")
    for name, values in columns.items():
        for day in range(5):
            values[day * 1440 : day * 1440 + 360] = [3.5 if name == "power" else 0.0] * 360
    result = anomalies(table(minutes(5 * 1440), columns)).results
    assert result["summary"]["frozen_events"] == 0


def test_a_daily_course_learnt_in_three_days_is_not_a_drift() -> None:
    """A value that is usual by day is found at night."""
    times = np.arange(5 * 288)
    random = np.random.default_rng(11)
    columns = noisy(len(times), "pressure", "flow")
    warmth = 20 + 10 * np.sin(2 * np.pi * times / 288) + random.normal(0, 0.3, len(times))
    warmth[1368:1388] = 25.0  # at 18 o'clock, when 10 are usual
    rows = table([START + timedelta(minutes=5 * int(i)) for i in times], {**columns, "temperature": warmth.tolist()})
    result = anomalies(rows, trained_until=START + timedelta(days=3)).results
    assert "temperature" not in result["left_out"]
    (event,) = [event for event in result["events"] if event["metric"] == "temperature"]
    assert event["shown_by"] == "temperature from its hour's usual"
    assert "°C above what is usual at that time of day, for" in event["why"]


def test_rows_that_fill_the_windows_of_a_lone_series_are_not_judged() -> None:
    values = np.random.default_rng(3).normal(50, 1, 1500)
    values[:10] = 500
    result = anomalies(table(minutes(1500), {"temperature": values.tolist()})).results
    assert result["summary"]["rows_not_judged"] == 47
    assert all(event["start"] > "2026-01-01T00:46" for event in result["events"])


def test_a_trained_until_after_the_last_reading_is_refused() -> None:
    rows = table(minutes(600), noisy(600, "pressure"))
    with pytest.raises(CannotAnalyse, match=r"after the last reading, 2026-01-01T09:59:00Z.*Choose an earlier"):
        anomalies(rows, trained_until=START + timedelta(days=9))


def test_one_row_to_learn_from_is_in_the_singular() -> None:
    rows = table(minutes(600), noisy(600, "pressure"))
    with pytest.raises(CannotAnalyse, match=r"^There is 1 row to learn from; at least \d+ are needed"):
        anomalies(rows, trained_until=START + timedelta(minutes=1))


def test_a_device_that_runs_otherwise_than_in_training_is_warned_of() -> None:
    columns = noisy(1500, "pressure", "flow")
    usual = anomalies(table(minutes(1500), columns), trained_until=START + timedelta(minutes=600)).results
    assert usual["warning"] is None
    columns["pressure"][800:] = [value + 40 for value in columns["pressure"][800:] if value is not None]
    moved = anomalies(table(minutes(1500), columns), trained_until=START + timedelta(minutes=600)).results
    assert "choose a later trained_until" in moved["warning"]


def test_an_event_says_why_and_what_drove_it() -> None:
    random = np.random.default_rng(3)
    voltage, power = random.normal(230, 1, 3000), random.normal(2300, 100, 3000)
    current = power / voltage * random.normal(1, 0.01, 3000)
    current[2000:2120] *= 1.4
    columns = {"voltage": voltage, "current": current, "power": power, "reactive_power": random.normal(0, 5, 3000)}
    result = anomalies(table(minutes(3000), {name: values.tolist() for name, values in columns.items()}))
    event = max(result.results["events"], key=lambda event: event["points"])
    assert event["metric"] == "current"
    assert {driver["metric"] for driver in event["drivers"]} <= {"voltage", "current", "power"}
    assert re.fullmatch(
        r"Current was 4(\.\d)? A \((39|40|41) %\) above what this voltage and power explain, for (2|2\.1) hours\.|"
        r"Power was 2[89] % below what voltage and current usually give, for (2|2\.1) hours\.",
        event["why"],
    )


def test_a_drift_differs_from_noise() -> None:
    random = np.random.default_rng(5)
    assert drifts(np.linspace(0, 10, 400) + random.normal(0, 1, 400))
    assert not drifts(random.normal(0, 1, 400))


def test_a_device_that_runs_otherwise_from_then_on_is_one_event() -> None:
    """The level of a lone series moves for good; later faults are found in the new way of running."""
    random = np.random.default_rng(5)
    rows = 8 * 288
    values = 50 + random.normal(0, 1, rows)
    values[3 * 288 :] += 25
    values[7 * 288 : 7 * 288 + 12] += 15
    times = [START + timedelta(minutes=5 * i) for i in range(rows)]
    rows_of = table(times, {"temperature": values.tolist()})
    result = anomalies(rows_of, "covariance", trained_until=START + timedelta(days=2)).results
    change, fault = result["events"]
    assert (change["kind"], fault["kind"]) == ("level_change", "unusual")
    assert change["start"][:13] == "2026-01-04T00"
    assert change["end"][:10] in ("2026-01-04", "2026-01-05")
    assert change["why"].startswith("The device runs otherwise from here on: within 24 hours, ")
    assert fault["start"][:13] == "2026-01-08T00"
    assert result["summary"]["level_changes"] == 1
    assert result["warning"] is None


def test_many_events_in_a_few_days_are_a_change_and_a_few_are_not() -> None:
    def kinds(every: int) -> list[str]:
        """The kinds of events if there is a short one after so many rows, again and again."""
        random = np.random.default_rng(5)
        rows = 12 * 288
        values = 50 + random.normal(0, 1, rows)
        for first in range(3 * 288, rows, every):
            values[first : first + 6] += 20
        times = [START + timedelta(minutes=5 * i) for i in range(rows)]
        until = START + timedelta(days=3)
        rows_of = table(times, {"temperature": values.tolist()})
        return [event["kind"] for event in anomalies(rows_of, "covariance", trained_until=until).results["events"]]

    often, seldom = kinds(50), kinds(288)
    assert often[0] == "level_change"
    assert len(often) <= 4
    assert len(seldom) >= 9
    assert set(seldom) == {"unusual"}


def test_a_change_that_was_called_a_false_alarm_is_not_reported_again() -> None:
    random = np.random.default_rng(5)
    values = 50 + random.normal(0, 1, 6 * 288)
    values[3 * 288 :] += 25
    rows = table([START + timedelta(minutes=5 * i) for i in range(6 * 288)], {"temperature": values.tolist()})
    parameters = AnomalyParameters(trained_until=START + timedelta(days=2))

    def events(*labels: Label) -> list[dict[str, Any]]:
        context = DeviceContext(labels=labels)
        found: list[dict[str, Any]] = analyse(
            "anomaly", "covariance", rows, parameters, lambda percent, words: None, context=context
        ).results["events"]
        return found

    (change,) = events()
    start, end = (datetime.fromisoformat(change[name]) for name in ("start", "end"))
    assert events(Label(start, end, "none", change["kind"], "covariance", change["exceeds"])) == []


def test_each_start_of_a_healthy_machine_is_no_event_of_its_windows() -> None:
    """At each start the power factor jumps, so the windows that hold it are far from all others, but they recur."""
    random = np.random.default_rng(3)
    times = np.arange(20 * 288)
    on = (times % 288 >= 72) & (times % 288 < 216)
    power = np.where(on, 8000, 400) * random.normal(1, 0.02, len(times))
    voltage = 230 + random.normal(0, 0.8, len(times))
    factor = np.where(on, 0.92, 0.75) * random.normal(1, 0.01, len(times))
    columns = {"voltage": voltage, "current": power / voltage / factor, "power": power}
    rows = table(
        [START + timedelta(minutes=5 * int(i)) for i in times],
        {name: values.tolist() for name, values in columns.items()},
    )
    assert anomalies(rows, "covariance").results["summary"]["events"] <= 2


def test_an_event_ends_when_the_readings_are_usual_again() -> None:
    """The means and windows of the rows after a fault still hold it."""
    columns = noisy(3000, "pressure", "flow")
    columns["pressure"][2000:2060] = [value + 12 for value in columns["pressure"][2000:2060] if value is not None]
    for model in ("isolation_forest", "covariance"):
        result = anomalies(table(minutes(3000), columns), model, trained_until=START + timedelta(minutes=1500)).results
        event = max(result["events"], key=lambda event: event["points"])
        first, last = (datetime.fromisoformat(event[name]) - START for name in ("start", "end"))
        assert timedelta(minutes=2000) <= first <= timedelta(minutes=2005)
        assert timedelta(minutes=2050) <= last <= timedelta(minutes=2061)


def test_a_swell_within_a_day_of_moving_voltage_is_found() -> None:
    """The level is one that the day has elsewhere, but not within the hour."""
    random = np.random.default_rng(3)
    rows = 6 * 1440
    voltage = 230 + 8 * np.sin(2 * np.pi * np.arange(rows) / 1440) + random.normal(0, 0.7, rows)
    power = random.normal(2300, 100, rows)
    current = power / voltage * random.normal(1, 0.01, rows)
    night = 5 * 1440 + 1080  # the lowest voltage of the day
    voltage[night : night + 40] += 9
    current[night : night + 40] = power[night : night + 40] / voltage[night : night + 40]
    columns = {"voltage": voltage.tolist(), "current": current.tolist(), "power": power.tolist()}
    events = anomalies(table(minutes(rows), columns)).results["events"]
    swell = max(events, key=lambda event: event["score"])
    assert swell["shown_by"] == "voltage from its hour's median"
    assert swell["start"][:13] in ("2026-01-06T18", "2026-01-06T17")


def test_metrics_that_are_unusual_only_together_are_said_to_be() -> None:
    random = np.random.default_rng(3)
    common = random.normal(0, 1, 3 * 1440)
    speed, flow = (mean + common + random.normal(0, 0.1, len(common)) for mean in (50, 20))
    flow[4000:4060] = 40 - flow[4000:4060]
    columns = {"speed": speed.tolist(), "flow": flow.tolist()}
    result = anomalies(table(minutes(len(common)), columns), "covariance", trained_until=START + timedelta(days=2))
    event = max(result.results["events"], key=lambda event: event["score"])
    assert event["start"].startswith("2026-01-03T18:4")
    assert event["why"].startswith("Flow and speed were unusual together, though each was as usual by itself, for ")


@pytest.mark.parametrize("model", ["isolation_forest", "auto"])
def test_a_machine_that_rests_at_weekends_is_compared_with_other_weekends(model: str) -> None:
    """It works from 6 to 18 on weekdays, less on Saturdays, and its temperature follows; nothing is wrong with it."""
    random, count = np.random.default_rng(1), 42 * 288
    times = [START + timedelta(minutes=5 * i) for i in range(count)]
    load = np.array([
        (8000.0, 8000.0, 8000.0, 8000.0, 8000.0, 1500.0, 150.0)[time.weekday()] if 6 <= time.hour < 18 else 150.0
        for time in times
    ])  # fmt: skip
    power = load + random.normal(0, 1, count) * np.where(load > 1000, 150, 8)
    voltage = random.normal(230, 1.5, count)
    columns = {
        "power": power, "current": power / voltage / 0.9, "voltage": voltage,
        "temperature": 20 + power / 1000 + random.normal(0, 0.4, count),
    }  # fmt: skip
    result = anomalies(table(times, {name: values.tolist() for name, values in columns.items()}), model)
    assert result.results["events"] == []
    warm = [i for i, time in enumerate(times) if time.date().isoformat() == "2026-02-01" and 8 <= time.hour < 10]
    columns["temperature"][warm] += 7.0  # as on a working day, but it is a Sunday
    found = anomalies(table(times, {name: values.tolist() for name, values in columns.items()}), model)
    assert max(found.results["events"], key=lambda event: event["score"])["start"].startswith("2026-02-01")


def test_how_meters_round_is_no_event() -> None:
    random = np.random.default_rng(5)
    voltage, power = random.normal(230, 1, 8000), random.normal(5000, 200, 8000)
    current = (power / voltage).round(4)
    columns = {"voltage": voltage.tolist(), "power": power.tolist(), "current": current.tolist()}
    result = anomalies(table(minutes(8000), columns))
    assert [event["why"] for event in result.results["events"] if event["shown_by"] == "log P/(V·I)"] == []
    current[5000:5010] *= 1.02
    result = anomalies(table(minutes(8000), columns | {"current": current.tolist()}))
    assert [event["start"] for event in result.results["events"]] == ["2026-01-04T11:20:00Z"]


@pytest.mark.parametrize("model", ["autoencoder", "covariance"])
def test_few_readings_suffice_to_find_a_small_shift(model: str) -> None:
    """Half an hour off by one usual spread, after 400 readings: the windows of the first ones raise no threshold."""
    columns = noisy(1500, "pressure", "flow")
    columns["pressure"][1000:1030] = [value + 2 for value in columns["pressure"][1000:1030] if value]
    result = anomalies(table(minutes(1500), columns), model, trained_until=START + timedelta(minutes=400))
    assert any("2026-01-01T16:40" <= event["start"] < "2026-01-01T17:10" for event in result.results["events"])


@pytest.mark.parametrize("model", ["autoencoder", "covariance"])
def test_a_large_fault_does_not_hide_a_small_one(model: str) -> None:
    """A model of all readings would learn the large one, as nothing says that it is one."""
    random, count = np.random.default_rng(6), 6000
    load = random.normal(0, 1, count)
    rows = {name: load + random.normal(0, 0.3, count) for name in ("pressure", "flow", "speed")}
    small, large = slice(1500, 1560), slice(4000, 4500)
    rows["flow"][small] += 1
    rows["flow"][large] += 6
    columns: dict[str, list[float | None]] = {name: [*map(float, values)] for name, values in rows.items()}
    found = anomalies(table(minutes(count), columns), model).results["events"]
    begun = [round((datetime.fromisoformat(event["start"]) - START) / timedelta(minutes=1)) for event in found]
    assert any(small.start <= minute < small.stop for minute in begun)
    assert any(large.start <= minute < large.stop for minute in begun)
