from itertools import count

from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from sqlalchemy import Engine
from sqlmodel import Session

from ingest.devices.metric_names import MetricNames
from ingest.intake.decode import Decoded
from ingest.intake.excess import drop_excess
from storage.device_metrics import DeviceMetrics, metric_names
from storage.devices import NAMED_METRICS
from storage.telemetry import Reading


def reading(*names: str, device_id: str = "D1") -> Reading:
    return Reading(device_id=device_id, time=1, metrics=dict.fromkeys(names, 1.0), received_at=1)


def limited(names: MetricNames, *readings: Reading) -> list[set[str]]:
    """What is left of each reading; nothing of one that is quarantined."""
    decoded = [Decoded([one], []) for one in readings]
    drop_excess(names, [("devices/D1/telemetry", one) for one in decoded])
    return [set(one.readings[0].metrics) if one.readings else set() for one in decoded]


def row(engine: Engine, device_id: str = "D1") -> DeviceMetrics:
    with Session(engine) as session:
        return session.get_one(DeviceMetrics, device_id)


def test_further_names_are_dropped_and_counted_and_known_ones_stay(engine: Engine) -> None:
    names = MetricNames(engine, 8)
    extra = [f"m{i}" for i in range(12)]
    assert limited(names, reading("power", *extra[:5]), reading(*extra)) == [{"power", *extra[:5]}, set(extra[:7])]
    assert limited(names, reading("m1", "m9"), reading("m10"), reading("voltage", "m11")) == [
        {"m1"},
        set(),
        {"voltage"},
    ]
    stored = row(engine)
    assert stored.metrics == ["power", *extra[:7], "voltage"]
    assert (stored.dropped_values, stored.dropped_names) == (8, extra[7:])
    assert stored.last_dropped_at


def test_a_reading_of_too_many_metrics_alone_is_quarantined_whole(engine: Engine) -> None:
    names = MetricNames(engine, 8)
    limited(names, reading(*(f"m{i}" for i in range(8))))
    decoded = Decoded([reading("m1"), reading("x1", "x2")], [])
    assert drop_excess(names, [("devices/D1/telemetry", decoded)]) == 2
    assert decoded.readings == [reading("m1")]
    (rejected,) = decoded.rejected
    assert rejected.reason == "x1, x2: the device already has 8 other metrics (MAX_METRICS_PER_DEVICE)"
    assert b'"x2": 1.0' in rejected.payload


def test_ingesters_agree_also_after_a_restart(engine: Engine) -> None:
    one, other = MetricNames(engine, 8), MetricNames(engine, 8)
    limited(one, reading("a1"), reading("a1", device_id="D2"))
    for i in range(6):
        limited(one if i % 2 else other, reading(f"m{i}"))
    assert limited(one, reading("power", "last")) == [{"power", "last"}] or row(engine).metrics
    known = set(row(engine).metrics)
    assert len(known - set(NAMED_METRICS)) <= 8
    for names in (one, other, MetricNames(engine, 8)):
        assert limited(names, reading("m0", "new")) == [{"m0"}]
        assert limited(names, reading(*known)) == [known]
    assert limited(MetricNames(engine, 9), reading("m0", "new")) == [{"m0", "new"}]
    with Session(engine) as session:
        assert metric_names(session, ["D1", "D2"]) == known | {"a1", "new"}


def test_what_is_known_costs_no_query(engine: Engine) -> None:
    names = MetricNames(engine, 8)
    limited(names, reading("power", "oil"))
    engine.dispose()
    offline = MetricNames(engine, 8)
    offline._known = names._known
    offline._engine = None  # type: ignore[assignment]
    assert limited(offline, reading("power"), reading("oil", "power")) == [{"power"}, {"oil", "power"}]


runs = count()
name = st.sampled_from([*NAMED_METRICS, *(f"m{i}" for i in range(20))])


@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])  # ids of its own
@given(batches=st.lists(st.lists(st.tuples(st.sampled_from(["D1", "D2"]), st.sets(name, min_size=1, max_size=6)),
                                 min_size=1, max_size=5), min_size=1, max_size=8))  # fmt: skip
def test_no_device_gets_more_than_the_limit_beside_the_named_ones(
    engine: Engine, batches: list[list[tuple[str, set[str]]]]
) -> None:
    ingesters = [MetricNames(engine, 8), MetricNames(engine, 8)]
    kept: dict[str, set[str]] = {}
    run = next(runs)
    total = 0
    for i, batch in enumerate(batches):
        readings = [reading(*names, device_id=f"{device}-{run}") for device, names in batch]
        left = limited(ingesters[i % 2], *readings)
        for (device, sent), names in zip(batch, left, strict=True):
            assert names <= sent
            assert sent & set(NAMED_METRICS) <= names
            kept.setdefault(device, set()).update(names)
            total += len(sent - names)
    for device, names in kept.items():
        stored = row(engine, f"{device}-{run}")
        assert names == set(stored.metrics)
        assert len(names) <= 8 + len(names & set(NAMED_METRICS))
        total -= stored.dropped_values
    assert total == 0
