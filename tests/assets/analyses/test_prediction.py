import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.analyses import CannotAnalyse, DeviceContext, PredictionParameters, Result, analyse, readings
from assets.analyses.context import Peer
from assets.analyses.learnt_lives import step_of
from assets.analyses.prognostics.backtest import split
from assets.analyses.prognostics.features import FEATURE_SETS, features, in_words
from assets.analyses.prognostics.recorded import RecordedFailure
from assets.analyses.prognostics.steps import Steps, Unit, steps_of, within

START = datetime(2026, 1, 1, tzinfo=UTC)
HORIZON = timedelta(hours=24)
LIVES = 6
LIFE = 150  # hours


def table(**metrics: Any) -> pa.Table:
    hours = len(next(iter(metrics.values())))
    times = pa.array([START + timedelta(hours=h) for h in range(hours)], pa.timestamp("us", "UTC"))
    return pa.table({"timestamp": times, **metrics})


def failures(lives: int = LIVES) -> list[datetime]:
    return [START + timedelta(hours=LIFE * (i + 1) - 1, minutes=30) for i in range(lives)]


def worn(seed: int = 3) -> pa.Table:
    """A machine whose vibration rises over the last two days of each of its lives; its temperature says nothing."""
    random = np.random.default_rng(seed)
    age = np.arange(LIVES * LIFE + 60) % LIFE
    wear = np.clip((age - (LIFE - 48)) / 48, 0, 1)
    return table(vibration=1 + 2 * wear + random.normal(0, 0.2, len(age)), temperature=random.normal(50, 2, len(age)))


def predict(
    rows: pa.Table, model: str = "gradient_boosting", context: DeviceContext | None = None, **parameters: Any
) -> Result:
    given = PredictionParameters(**parameters)
    return analyse("prediction", model, rows, given, lambda _percent, _message: None, context=context)


def recorded(moments: list[datetime]) -> tuple[RecordedFailure, ...]:
    return tuple(RecordedFailure(moment) for moment in moments)


def steps(rows: Any, moments: tuple[RecordedFailure, ...]) -> Steps:
    step = step_of(rows, HORIZON)
    return steps_of([Unit(rows, within(rows, moments, step))], step)


@pytest.mark.parametrize("model", ["random_forest", "gradient_boosting"])
def test_wear_is_learnt_and_judged_on_failures_that_were_held_out(model: str) -> None:
    result = predict(worn(), model, failures=failures())
    accuracy = result.accuracy_metrics
    assert accuracy["failures_found"] == accuracy["failures_tested"] == 2
    assert accuracy["pr_auc"] > 0.8 > 3 * accuracy["base_rate"]
    assert accuracy["brier_skill"] > 0.4
    assert accuracy["false_alarm_share"] < 0.1
    assert result.results["drivers"][0]["metric"] == "vibration"
    assert result.results["failure_probability"] < 0.2  # 60 hours into a new life


def test_probability_rises_before_a_failure() -> None:
    short_before = worn().slice(0, LIVES * LIFE - 4)
    result = predict(short_before, failures=failures(LIVES - 1))
    assert result.results["failure_probability"] > 0.7
    assert result.results["as_of"] == "2026-02-07T07:00:00Z"


@pytest.mark.slow
def test_noise_predicts_nothing_and_the_result_says_so() -> None:
    """The canary: had the features or the split a leak, noise would look like a prediction."""
    random = np.random.default_rng(5)
    noise = table(power=random.normal(100, 5, 2_000), vibration=random.normal(1, 0.1, 2_000))
    moments = [START + timedelta(hours=float(h)) for h in np.sort(random.uniform(100, 1_900, 12))]
    accuracy = predict(noise, "random_forest", failures=moments).accuracy_metrics
    assert accuracy["pr_auc"] < 2 * accuracy["base_rate"]
    assert accuracy["brier_skill"] < 0.1


@pytest.mark.slow
def test_a_label_among_the_columns_is_not_learnt_from() -> None:
    rows = worn()
    soon = [float(any(f - HORIZON <= t < f for f in failures())) for t in rows["timestamp"].to_pylist()]
    labelled = rows.append_column("failure", pa.array(soon))
    with_label, without = predict(labelled, failures=failures()), predict(rows, failures=failures())
    assert with_label.results["left_out"] == {"failure": "its name is that of a label"}
    assert with_label.accuracy_metrics == without.accuracy_metrics


@pytest.mark.parametrize("parts", FEATURE_SETS)
def test_features_of_a_moment_do_not_change_with_what_comes_later(parts: tuple[str, ...]) -> None:
    whole = readings.frame(worn())
    half = whole.iloc[: len(whole) // 2]
    known = steps(half, recorded(failures()))
    until, every = features(known, parts).frame, features(steps(whole, recorded(failures())), parts).frame
    np.testing.assert_allclose(every.iloc[: len(until)], until, equal_nan=True)


@pytest.mark.parametrize("parts", FEATURE_SETS)
def test_features_never_look_across_a_repair(parts: tuple[str, ...]) -> None:
    """Whatever the machine did before a failure and during its repair, the next life is the same."""
    rows = readings.frame(worn())
    begin = START + timedelta(hours=2 * LIFE)
    other = rows.copy()
    other[other.index < begin] *= 7.0
    repaired = (*recorded(failures(1)), RecordedFailure(failures(2)[-1], begin), *recorded(failures())[2:])
    one, two = (steps(frame, repaired) for frame in (rows, other))
    later = np.asarray(one.ends >= pd.Timestamp(begin))
    assert 0 < later.sum() < len(later)
    first, second = (features(found, parts).frame[later] for found in (one, two))
    np.testing.assert_array_equal(first, second)
    assert features(one, parts).frame["age"][later].iloc[0] == 0


def test_a_machine_under_repair_is_not_learnt_from() -> None:
    down = RecordedFailure(START + timedelta(hours=100), START + timedelta(hours=130))
    found = steps(readings.frame(worn()), (down,))
    hours = (found.ends - START) / timedelta(hours=1)
    assert not ((hours >= 100) & (hours < 130)).any()
    assert {int(life) for life in found.life} == {0, 1}
    assert found.remaining[hours == 99] == pytest.approx(1.0)
    assert np.isnan(found.remaining[hours >= 130]).all()


def test_nothing_learnt_from_overlaps_with_what_it_is_judged_by() -> None:
    known = steps(readings.frame(worn()), recorded(failures()))
    learnt, judged = split(known, HORIZON)
    assert learnt.any()
    assert judged.any()
    assert known.ends[learnt].max() + HORIZON <= known.ends[judged].min() - HORIZON


def test_the_end_of_the_readings_is_not_taken_for_quiet() -> None:
    known = steps(readings.frame(worn()), recorded(failures()))
    assert not known.labelled(HORIZON)[known.ends > known.ends[-1] - HORIZON].any()


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ([], "There are no recorded failures; at least 3 are needed"),
        (failures(1), "There is 1 failure in parameters.failures; at least 3 are needed. Give more"),
        (failures(2), "There are 2 failures in parameters.failures; at least 3 are needed"),
        (
            [datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)],
            "0 of 2 failures in parameters.failures lie within",
        ),
    ],
)
def test_missing_failures_are_named(moments: list[datetime], message: str) -> None:
    with pytest.raises(CannotAnalyse, match=message):
        predict(worn(), failures=moments)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table(power=[5.0] * 400), "power: constant"),
        (table(power=[1.0]), "power: constant"),
        (table(power=pa.nulls(400, pa.float64())), "no readings of any metric"),
        (table(power=np.arange(12.0)), "lie within the readings"),
    ],
)
def test_readings_that_carry_nothing_are_refused(rows: pa.Table, message: str) -> None:
    with pytest.raises(CannotAnalyse, match=message):
        predict(rows, failures=failures())


def test_failures_too_close_for_a_split_give_null_with_the_reason() -> None:
    close = [START + timedelta(hours=h) for h in (400, 410, 420)]
    result = predict(worn(), failures=close)
    accuracy = result.accuracy_metrics
    assert accuracy["pr_auc"] is None
    assert "held out" in accuracy["reason"]
    assert accuracy["reason"] in result.results["warning"]


@pytest.mark.slow
def test_the_same_job_twice_and_gaps() -> None:
    rows = worn()
    kept = np.ones(len(rows), bool)
    kept[200:280] = False
    holes = rows.filter(pa.array(kept))
    first, second = (predict(holes, failures=failures()) for _ in range(2))
    assert json.dumps(first.results, allow_nan=False) == json.dumps(second.results, allow_nan=False)
    assert json.dumps(first.accuracy_metrics, allow_nan=False) == json.dumps(second.accuracy_metrics, allow_nan=False)


@pytest.mark.slow
def test_labels_come_from_parameters_from_the_table_or_from_a_column() -> None:
    failed = np.zeros(len(worn()))
    for moment in failures():
        failed[int((moment - START) / timedelta(hours=1)) + 1] = 1.0
    with_column = worn().append_column("machine_failure", pa.array(failed))
    context = DeviceContext(failures=recorded(failures(4)))
    cases = [
        (predict(with_column, failures=failures(3), context=context), "parameters", None, 3),
        (predict(with_column, context=context), "failures", None, 4),
        (predict(with_column), "column", "machine_failure", 6),
        (predict(with_column, context=context, label="machine_failure"), "column", "machine_failure", 6),
    ]
    for result, source, column, count in cases:
        assert result.results["labels"] == {"source": source, "column": column, "failures": count}
        assert "machine_failure" in result.results["left_out"]


def test_a_label_column_with_many_values_is_refused() -> None:
    with pytest.raises(CannotAnalyse, match="vibration has more than two values"):
        predict(worn(), label="vibration")


@pytest.mark.slow
def test_what_is_known_only_after_the_fact_does_not_help() -> None:
    """Canaries: the ticket of the repair, a mark that was set afterwards, and a countdown."""
    random = np.random.default_rng(8)
    hours = 1_500
    moments = np.cumsum(random.integers(70, 150, 12))
    following = np.append(moments, 10_000)[np.searchsorted(moments, np.arange(hours), side="right")]
    ahead = following - np.arange(hours)
    noise = {name: random.normal(10, 1, hours) for name in ("power", "vibration")}
    since = np.arange(hours) - np.r_[0, moments][np.searchsorted(moments, np.arange(hours), side="right")]
    canaries = {
        "ticket": ((since < 5) & (np.arange(hours) > moments[0])).astype(float),
        "mark": (ahead <= 6).astype(float) * 3,
        "countdown": np.clip(ahead, 0, 100).astype(float),
        "fails_within_10": random.normal(0, 1, hours),
    }
    failed = [START + timedelta(hours=int(h)) for h in moments if h < hours]
    plain, told = predict(table(**noise), failures=failed), predict(table(**noise, **canaries), failures=failed)
    assert set(told.results["left_out"]) == {"mark", "countdown", "fails_within_10"}
    assert told.accuracy_metrics["pr_auc"] < plain.accuracy_metrics["pr_auc"] + 0.1
    assert told.accuracy_metrics["pr_auc"] < 0.5  # a canary that helped would make it nearly 1


def fleet(devices: int = 5, lives: int = 2) -> list[Peer]:
    """Other devices that wear like `worn`, each at a level of its own."""

    def rows(number: int) -> pa.Table:
        found = worn(seed=20 + number).slice(0, lives * LIFE + 20)
        level = pa.array(np.asarray(found["vibration"]) + number)
        return found.set_column(found.schema.get_field_index("vibration"), "vibration", level)

    moments = [[moment + timedelta(minutes=n) for moment in failures(lives)] for n in range(devices)]
    return [Peer(f"P{n}", recorded(moments[n]), partial(rows, n)) for n in range(devices)]


@pytest.mark.slow
def test_a_device_without_failures_learns_from_its_fleet() -> None:
    context = DeviceContext(peers=fleet)
    quiet, late = (predict(worn().slice(0, hours), context=context) for hours in (90, LIFE - 4))
    assert quiet.results["failure_probability"] < 0.2
    assert late.results["failure_probability"] > 0.6
    assert quiet.results["fleet"] == {
        "used": True,
        "devices": [{"device_id": f"P{number}", "failures": 2} for number in range(5)],
        "own_failures": 0,
    }
    assert quiet.results["summary"]["devices_learnt_from"] == 6
    assert quiet.accuracy_metrics["failures_tested"] >= 2


@pytest.mark.slow
def test_a_kept_model_judges_fresh_readings_until_the_device_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    early, late = worn().slice(0, 5 * LIFE + 30), worn().slice(24, 6 * LIFE - 28)
    first = predict(early, context=DeviceContext(failures=recorded(failures(5))))
    context = DeviceContext(failures=recorded(failures(5)), kept=first.fitted)
    fits = MagicMock(side_effect=AssertionError("fitted again"))
    with monkeypatch.context() as patched:
        patched.setattr("assets.analyses.prediction.fit", fits)
        again, later = predict(early, context=context), predict(late, context=context)
    assert (again.results, again.accuracy_metrics) == (first.results, first.accuracy_metrics)
    assert again.scores == first.scores
    assert (again.fitted, later.fitted) == (None, None)
    assert first.results["failure_probability"] < 0.2
    assert later.results["failure_probability"] > 0.6
    failed = DeviceContext(failures=recorded(failures(6)), kept=first.fitted)
    assert predict(worn(), context=failed).fitted is not None


@pytest.mark.slow
def test_a_model_of_the_fleet_holds_for_a_device_that_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict(worn().slice(0, 90), context=DeviceContext(peers=fleet))
    assert first.is_fleet
    monkeypatch.setattr("assets.analyses.prediction.fit", MagicMock(side_effect=AssertionError("fitted again")))
    for_other = DeviceContext(kept=first.fitted.of_other_device("P0", "D1"))
    late = predict(worn(seed=9).slice(0, LIFE - 4), context=for_other)
    assert late.results["failure_probability"] > 0.6
    devices = [device["device_id"] for device in late.results["fleet"]["devices"]]
    assert devices == ["D1", "P1", "P2", "P3", "P4"]


@pytest.mark.slow
def test_the_fleet_is_used_if_asked_for_or_if_there_are_too_few_failures() -> None:
    context = DeviceContext(failures=recorded(failures()), peers=fleet)
    assert predict(worn(), context=context).results["fleet"]["used"] is False
    assert predict(worn(), context=context, fleet=True).results["fleet"]["used"] is True
    few = DeviceContext(failures=recorded(failures(1)), peers=fleet)
    with pytest.raises(CannotAnalyse, match="There is 1 recorded failure; at least 3"):
        predict(worn(), context=few, fleet=False)
    lone = DeviceContext(failures=recorded(failures(1)), peers=lambda: [Peer("P", (), worn)])
    with pytest.raises(CannotAnalyse, match="1 other device of its type has 0; at least 3 are needed"):
        predict(worn(), context=lone)


def test_one_failure_to_test_on_is_too_few_to_judge() -> None:
    """Nor is anything certain that was learnt from three failures."""
    result = predict(worn(), failures=failures(3))
    accuracy = result.accuracy_metrics
    assert (accuracy["pr_auc"], accuracy["brier_skill"], accuracy["failures_tested"]) == (None, None, 1)
    assert accuracy["reason"].startswith("too few to judge: 1 failure was held out")
    assert "not known: too few to judge" in result.results["warning"]
    values = [step["failure_probability"] for step in result.results["probabilities"]]
    assert 0.01 < min(values) < max(values) < 0.99


@pytest.mark.slow
def test_a_prediction_that_is_worse_than_chance_carries_a_warning() -> None:
    """In the newest lives what used to come before a failure comes long before it, and vanishes again."""
    random = np.random.default_rng(2)
    lengths = random.integers(160, 240, 10)
    wear = [np.clip(1 - np.arange(length)[::-1] / 30, 0, 1) for length in lengths]
    shifted = [part if number < 7 else np.roll(part, -70) for number, part in enumerate(wear)]
    vibration = np.concatenate(shifted) + random.normal(0, 0.05, int(lengths.sum()))
    moments = [START + timedelta(hours=int(h) - 1, minutes=30) for h in np.cumsum(lengths)]
    rows = table(vibration=vibration)
    result = predict(rows, failures=moments)
    assert result.accuracy_metrics["brier_skill"] < 0
    assert "worse than chance" in result.results["warning"]
    assert result.results["summary"]["warning"] == result.results["warning"]
    assert predict(worn(), failures=failures()).results["warning"] is None


def test_features_of_two_metrics_have_words() -> None:
    metrics = ("voltage", "temperature")
    assert in_words("voltage * temperature", metrics) == "voltage together with temperature (their product)"
    assert in_words("voltage - temperature", metrics) == "the difference between voltage and temperature"
    assert in_words("voltage, trend", ("voltage",)) == "voltage, trend"


@pytest.mark.slow
def test_a_result_shows_calibration_a_curve_and_the_direction_of_drivers() -> None:
    result = predict(worn(), failures=failures())
    reliability = result.results["reliability"]
    assert sum(row["steps"] for row in reliability) > 100
    assert reliability[0]["failed"] < 0.1
    assert reliability[-1]["failed"] > 0.5
    curve = result.results["curve"]
    assert [point["horizon_hours"] for point in curve] == [6, 12, 24, 48]
    values = [point["failure_probability"] for point in curve]
    assert values == sorted(values)
    assert values[2] == result.results["failure_probability"]
    driver = result.results["drivers"][0]
    assert (driver["metric"], driver["direction"]) == ("vibration", "high")
    assert driver["shown_by"].startswith("vibration")
    assert driver["shown_by_words"].startswith("vibration")
    assert result.results["age"]["direction"] == "high"


def lives_of(lengths: list[int], seed: int = 4, **ways: Any) -> tuple[pa.Table, list[datetime]]:
    """Lives that wear out over their whole length; `ways` has the metrics of the last one, which runs on."""
    random = np.random.default_rng(seed)
    shapes = [np.linspace(0, 1, length) ** 2 for length in lengths]
    vibration = np.concatenate([1 + 3 * shape for shape in shapes])
    metrics = {"vibration": vibration, "temperature": np.full(len(vibration), 50.0)}
    last = slice(len(vibration) - lengths[-1], None)
    for name, values in ways.items():
        metrics[name][last] = values(shapes[-1])
    noisy = {name: values + random.normal(0, 0.1, len(values)) for name, values in metrics.items()}
    return table(**noisy), [START + timedelta(hours=int(h) - 1, minutes=30) for h in np.cumsum(lengths)[:-1]]


LENGTHS = [150, 220, 180, 260, 200, 170, 240, 190, 210, 160, 200]


@pytest.mark.slow
def test_remaining_life_has_an_interval_and_is_tested_on_lives_that_were_not_known() -> None:
    rows, moments = lives_of(LENGTHS)
    result = predict(rows.slice(0, len(rows) - 30), failures=moments)
    life = result.results["remaining_life"]
    assert life["lower"] <= life["hours"] <= life["upper"]
    assert life["lower"] <= 30 <= life["upper"]
    assert life["upper"] - life["lower"] < 60
    assert (life["lives"], life["novelty"]["is_unlike"], life["warning"]) == (10, False, None)
    figures = result.accuracy_metrics["remaining_life"]
    assert figures["rmse_hours"] < 0.5 * figures["baseline_rmse_hours"]
    assert figures["interval_held"] > 0.75
    assert figures["lives_tested"] == 3
    few = predict(worn(), failures=failures(5)).results["remaining_life"]
    assert few["hours"] is None
    assert "5 lives ran to failure" in few["reason"]


@pytest.mark.slow
def test_a_way_of_failing_that_no_life_showed_is_told() -> None:
    unlike: dict[str, Any] = {"vibration": lambda shape: 1 + 0 * shape, "temperature": lambda shape: 50 + 8 * shape}
    rows, moments = lives_of(LENGTHS, **unlike)
    life = predict(rows.slice(0, len(rows) - 30), failures=moments).results["remaining_life"]
    assert life["novelty"]["is_unlike"]
    assert life["novelty"]["metrics"][0] == "temperature"
    assert "none of the known lives did (temperature" in life["warning"]
