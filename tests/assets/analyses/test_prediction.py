import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.analyses import CannotAnalyse, PredictionParameters, Result, analyse, readings
from assets.analyses.failures import examples
from assets.analyses.prediction import split

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


def predict(rows: pa.Table, model: str = "gradient_boosting", **parameters: Any) -> Result:
    return analyse("prediction", model, rows, PredictionParameters(**parameters), lambda _percent, _message: None)


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


def test_noise_predicts_nothing_and_the_result_says_so() -> None:
    """The canary: had the features or the split a leak, noise would look like a prediction."""
    random = np.random.default_rng(5)
    noise = table(power=random.normal(100, 5, 2_000), vibration=random.normal(1, 0.1, 2_000))
    moments = [START + timedelta(hours=float(h)) for h in np.sort(random.uniform(100, 1_900, 12))]
    accuracy = predict(noise, "random_forest", failures=moments).accuracy_metrics
    assert accuracy["pr_auc"] < 2 * accuracy["base_rate"]
    assert accuracy["brier_skill"] < 0.1


def test_a_label_among_the_columns_is_not_learnt_from() -> None:
    rows = worn()
    soon = [float(any(f - HORIZON <= t < f for f in failures())) for t in rows["timestamp"].to_pylist()]
    labelled = rows.append_column("failure", pa.array(soon))
    with_label, without = predict(labelled, failures=failures()), predict(rows, failures=failures())
    assert with_label.results["left_out"] == {"failure": "its name is that of a label"}
    assert with_label.accuracy_metrics == without.accuracy_metrics


def test_features_of_a_moment_do_not_change_with_what_comes_later() -> None:
    whole = readings.frame(worn())
    half = whole.iloc[: len(whole) // 2]
    all_features = examples(whole, failures(), HORIZON).features
    until = examples(half, failures(), HORIZON).features
    shared = until.index[:-1]  # the last step of the half is cut short
    np.testing.assert_allclose(all_features.loc[shared], until.loc[shared], equal_nan=True)


def test_nothing_learnt_from_overlaps_with_what_it_is_judged_by() -> None:
    known = examples(readings.frame(worn()), failures(), HORIZON)
    learnt, judged = split(known, HORIZON)
    assert learnt.any()
    assert judged.any()
    assert known.ends[learnt].max() + HORIZON <= known.ends[judged].min() - HORIZON


def test_the_end_of_the_readings_is_not_taken_for_quiet() -> None:
    known = examples(readings.frame(worn()), failures(), HORIZON)
    assert not known.labelled[known.ends > known.ends[-1] - HORIZON].any()


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ([], "There are no recorded failures. Give the moments"),
        (failures(1), "1 of the 1 recorded failures lie within the readings; at least 2 are needed"),
        ([datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)], "0 of the 2 recorded failures"),
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
    close = [START + timedelta(hours=h) for h in (400, 410)]
    accuracy = predict(worn(), failures=close).accuracy_metrics
    assert accuracy["pr_auc"] is None
    assert "held out" in accuracy["reason"]


def test_the_same_job_twice_and_gaps() -> None:
    rows = worn()
    kept = np.ones(len(rows), bool)
    kept[200:280] = False
    holes = rows.filter(pa.array(kept))
    first, second = (predict(holes, failures=failures()) for _ in range(2))
    assert json.dumps(first.results, allow_nan=False) == json.dumps(second.results, allow_nan=False)
    assert json.dumps(first.accuracy_metrics, allow_nan=False) == json.dumps(second.accuracy_metrics, allow_nan=False)
