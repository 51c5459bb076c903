"""The contract of the telemetry store, kept by both adapters on real servers."""

import math
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from storage.devices import NAMED_METRICS
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.telemetry import (
    AGGREGATES,
    CONTEXT,
    COUNT,
    TIME,
    Aggregate,
    MetricStatistics,
    Reading,
    StoreUnavailable,
    TelemetryStore,
    merge,
)
from storage.times import DAY, MINUTE, SECOND, microseconds, moment
from tests.support.servers import free_port

START = microseconds(datetime(2026, 2, 12, 10, tzinfo=UTC))
END = START + DAY


@pytest.fixture(params=["postgresql", "influxdb"])
def store(request: pytest.FixtureRequest) -> Iterator[TelemetryStore]:
    opened = open_telemetry_store(request.getfixturevalue(f"{request.param}_telemetry"))
    yield opened
    opened.close()


@pytest.fixture
def postgresql_telemetry(settings: Settings) -> Settings:
    return settings


@pytest.fixture
def influxdb_telemetry(influxdb_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in influxdb_server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("INFLUXDB_BUCKET", f"test-{secrets.token_hex(6)}")
    return Settings.load()


def reading(time: int = START, device_id: str = "D1", **more: Any) -> Reading:
    """Keywords are metrics, but for those that are a reading's own."""
    own = {name: more.pop(name) for name in list(more) if name in Reading.__struct_fields__}
    context = {
        "enrichment_status": "success",
        "device_type": "pump",
        "location": "Hall 1",
        "received_at": time + SECOND,
    }
    return Reading(device_id=device_id, time=time, metrics=more or {"power": 100.0}, **{**context, **own})


def extra(metrics: dict[str, Any], there: bool = True) -> dict[str, Any]:
    return metrics if there else {}


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """As plain values, the time in microseconds, without what is absent."""
    table = table.set_column(0, "time", table["time"].cast(pa.int64()))
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def test_a_device_with_many_metrics(store: TelemetryStore) -> None:
    """Each reading has some; PostgreSQL returns no more than 1,664 columns, and statistics of a metric are four."""
    names = [f"m{i:03}" for i in range(600)]
    values = {name: float(i) for i, name in enumerate(names)}
    parts = [dict(list(values.items())[i : i + 30]) for i in range(0, 600, 30)]
    store.write([reading(START + i * SECOND, voltage=230.0, **extra(part)) for i, part in enumerate([*parts, *parts])])
    statistics = store.statistics("D1", START, END)
    assert statistics.readings == 40
    assert list(statistics.metrics) == ["voltage", *names]
    assert all(
        statistics.metrics[name] == MetricStatistics(2, value, value, 2 * value) for name, value in values.items()
    )
    assert statistics.metrics["voltage"] == MetricStatistics(40, 230, 230, 9200)
    (window,) = rows(store.aggregate("D1", START, END, function="max", every=DAY))
    assert window == {"time": START // DAY * DAY, COUNT: 40, "voltage": 230, **values}
    assert len(store.read("D1", START, END).column_names) == 1 + 4 + 600


def test_what_is_written_is_read(store: TelemetryStore) -> None:
    assert store.write([
        reading(START + MINUTE, voltage=230.5, power=276.6, vibration_rms=0.4, out_of_band=["power", "vibration_rms"]),
        reading(START, current=1.25, device_type=None, location=None, schema_version="v2", enrichment_status="failed"),
        reading(START, "D2", voltage=1.0),
    ]) == []  # fmt: skip
    table = store.read("D1", START, END, context=True)
    metrics = [*NAMED_METRICS, "vibration_rms"]
    assert table.schema == pa.schema([("time", TIME), *((name, pa.float64()) for name in metrics), *CONTEXT])
    received = [moment(START + SECOND), moment(START + MINUTE + SECOND)]
    assert rows(table) == [
        {"time": START, "current": 1.25, "schema_version": "v2", "enrichment_status": "failed",
         "received_at": received[0]},
        {"time": START + MINUTE, "voltage": 230.5, "power": 276.6, "vibration_rms": 0.4, "device_type": "pump",
         "location": "Hall 1", "schema_version": "v1", "enrichment_status": "success",
         "out_of_band": ["power", "vibration_rms"], "received_at": received[1]},
    ]  # fmt: skip


def test_metrics_asked_for_by_name(store: TelemetryStore) -> None:
    store.write([reading(START, power=1.0), reading(START + 1, oil=2.0, power=3.0), reading(START + 2, oil=4.0)])
    table = store.read("D1", START, END, metrics=["oil", "never_sent"])
    assert table.column_names == ["time", "oil", "never_sent"]
    assert rows(table) == [{"time": START + 1, "oil": 2.0}, {"time": START + 2, "oil": 4.0}]
    assert store.read("D1", START, END, metrics=["never_sent"]).num_rows == 0
    assert store.read("D1", START, END, metrics=[]).num_rows == 0
    with pytest.raises(ValueError, match="not a metric name"):
        store.read("D1", START, END, metrics=['power" or true or r._field == "x'])


def test_ranges_are_half_open_and_exact_to_the_microsecond(store: TelemetryStore) -> None:
    store.write([reading(START + i, power=float(i)) for i in range(5)])
    assert [row["power"] for row in rows(store.read("D1", START + 1, START + 3))] == [1.0, 2.0]
    assert store.read("D1", START + 3, START + 3).num_rows == 0
    assert store.read("D1", START + 3, START + 1).num_rows == 0


def test_a_range_without_readings(store: TelemetryStore) -> None:
    store.write([reading(START)])
    table = store.read("D1", END, END + DAY, context=True)
    assert table.schema == pa.schema([("time", TIME), *((name, pa.float64()) for name in NAMED_METRICS), *CONTEXT])
    assert table.num_rows == store.read("unknown", START, END).num_rows == 0
    none = store.aggregate("D1", END, END + DAY, function="mean", every=MINUTE)
    assert (none.num_rows, none.column_names) == (0, ["time", COUNT, *NAMED_METRICS])
    statistics = store.statistics("D1", END, END + DAY)
    assert (statistics.readings, statistics.metrics) == (0, {})
    assert store.write([]) == []


def test_names_are_text_however_they_look(store: TelemetryStore) -> None:
    """A quote or a comma in a device id or a place is neither a query nor a tag."""
    awkward = ('D"1', "a,b=c d", "x\\", "é\n")
    store.write([reading(START, name, power=float(i), location=name) for i, name in enumerate(awkward)])
    for i, name in enumerate(awkward):
        if "\n" not in name and "\\" not in name:  # the contract's identifiers have neither; places may
            (row,) = rows(store.read(name, START, END, context=True))
            assert (row["power"], row["location"]) == (float(i), name)
    assert store.read('D1" or r.device_id != "', START, END).num_rows == 0


@pytest.mark.parametrize("place", ["Hall 1\\", "a\nb", "100%", "%0A", "a, b=c", "ünï 😀", "trailing "])
def test_any_location_comes_back_as_it_was(store: TelemetryStore, place: str) -> None:
    store.write([reading(location=place)])
    assert rows(store.read("D1", START, END, context=True))[0]["location"] == place


def test_the_same_moment_again_is_the_same_reading(store: TelemetryStore) -> None:
    first = reading(power=1.0, oil=2.0, out_of_band=["power"])
    for again in (first, first, reading(power=3.0, voltage=4.0, received_at=START + 2 * SECOND)):
        store.write([again])
    expected = {"time": START, "voltage": 4.0, "power": 3.0, "oil": 2.0}
    assert rows(store.read("D1", START, END)) == [expected]
    assert "out_of_band" not in rows(store.read("D1", START, END, context=True))[0]
    assert store.statistics("D1", START, END).readings == 1


def test_the_same_moment_twice_in_a_batch(store: TelemetryStore) -> None:
    later = reading(power=2.0, received_at=START + 3, location="Hall 2")
    store.write([later, reading(power=1.0, oil=1.0, received_at=START + 2, location="Hall 1")])
    (row,) = rows(store.read("D1", START, END, context=True))
    assert (row["power"], row["oil"], row["location"]) == (2.0, 1.0, "Hall 2")


def test_three_times_in_a_batch_in_any_order(store: TelemetryStore) -> None:
    """Each metric's newest value stands, even where a reading without it was received later still."""
    store.write([reading(power=1.0, received_at=START + 1), reading(voltage=2.0, received_at=START + 3),
                 reading(power=3.0, received_at=START + 2)])  # fmt: skip
    assert rows(store.read("D1", START, END)) == [{"time": START, "voltage": 2.0, "power": 3.0}]


def test_delivered_again_after_the_device_was_enriched(store: TelemetryStore) -> None:
    """In InfluxDB the second copy is another point; readers see one reading, with what was known last."""
    before = [reading(START + i * MINUTE, power=float(i), oil=1.0, enrichment_status="failed", device_type=None,
                      location=None, out_of_band=["power"] if i == 4 else None) for i in range(10)]  # fmt: skip
    after = [reading(START + i * MINUTE, power=10.0 + i, received_at=END + i) for i in range(3, 7)]
    store.write(before)
    store.write(after)
    table = store.read("D1", START, END, context=True)
    assert table["power"].to_pylist() == [0.0, 1.0, 2.0, 13.0, 14.0, 15.0, 16.0, 7.0, 8.0, 9.0]
    assert table["oil"].to_pylist() == [1.0] * 10
    assert table["enrichment_status"].to_pylist() == ["failed"] * 3 + ["success"] * 4 + ["failed"] * 3
    assert table["location"].to_pylist() == [None] * 3 + ["Hall 1"] * 4 + [None] * 3
    assert table["out_of_band"].null_count == 10, "the value that was out of band was replaced"
    assert store.read("D1", START, END, newest=4)["power"].to_pylist() == [16.0, 7.0, 8.0, 9.0]
    assert store.read("D1", START, END, metrics=["power"], newest=6)["power"].to_pylist()[0] == 14.0
    means = store.aggregate("D1", START, END, function="mean", every=5 * MINUTE)
    assert means["power"].to_pylist() == pytest.approx([(0 + 1 + 2 + 13 + 14) / 5, (15 + 16 + 7 + 8 + 9) / 5])
    assert means[COUNT].to_pylist() == [5, 5]
    assert store.statistics("D1", START, END).metrics["power"].max == 16.0
    assert store.statistics("D1", START, END).readings == 10


def test_several_series_that_share_no_moment(store: TelemetryStore) -> None:
    store.write([reading(START + i, power=float(i), location=f"Hall {i % 3}", oil=float(i)) for i in range(30)])
    table = store.read("D1", START, END, context=True)
    assert table["power"].to_pylist() == table["oil"].to_pylist() == [float(i) for i in range(30)]
    assert table["location"].to_pylist() == [f"Hall {i % 3}" for i in range(30)]


def test_the_newest(store: TelemetryStore) -> None:
    store.write([reading(START, early=1.0, power=0.0)])
    store.write([reading(START + 1 + i, **extra({"power" if i % 2 else "voltage": float(i)})) for i in range(10)])
    newest = store.read("D1", START, END, newest=3)
    assert newest.column_names == ["time", *NAMED_METRICS]
    assert rows(newest) == [
        {"time": START + 8, "power": 7.0},
        {"time": START + 9, "voltage": 8.0},
        {"time": START + 10, "power": 9.0},
    ]
    assert rows(store.read("D1", START, END, metrics=["voltage"], newest=2)) == [
        {"time": START + 7, "voltage": 6.0},
        {"time": START + 9, "voltage": 8.0},
    ]
    assert store.read("D1", START, END, newest=100).num_rows == 11


def test_the_newest_of_a_rare_metric_with_what_stands_beside_it(store: TelemetryStore) -> None:
    """Also where another series, received later, corrects it; and nothing else comes with it."""
    store.write([reading(START + i, **extra({"oil" if i % 10 == 3 else "power": float(i)})) for i in range(50)])
    store.write([reading(START + 33, oil=5.0, location="Hall 2", received_at=END)])
    table = store.read("D1", START, END, metrics=["oil", "never_sent"], context=True, newest=3)
    assert table["oil"].to_pylist() == [23.0, 5.0, 43.0]
    assert table["location"].to_pylist() == ["Hall 1", "Hall 2", "Hall 1"]
    assert table["received_at"].cast(pa.int64()).to_pylist() == [START + 23 + SECOND, END, START + 43 + SECOND]
    assert store.read("D1", START, END, metrics=["never_sent"], context=True, newest=3).num_rows == 0


@pytest.mark.parametrize("function", AGGREGATES)
def test_aggregates(store: TelemetryStore, function: Aggregate) -> None:
    values = [[5.0, 1.0, 3.0, 2.0], [], [7.0]]
    store.write([
        reading(START + i * MINUTE + j * SECOND, power=value, **extra({"oil": 10 * value}, j > 0))
        for i, window in enumerate(values) for j, value in enumerate(window)
    ])  # fmt: skip
    table = store.aggregate("D1", START + 1, END, function=function, every=MINUTE)
    assert store.aggregate("D1", START, END, function=function, every=MINUTE, metrics=["oil"]).column_names == [
        "time", COUNT, "oil"]  # fmt: skip
    expected = {"mean": 2.0, "min": 1.0, "max": 3.0, "sum": 6.0, "count": 3.0, "median": 2.0, "first": 1.0, "last": 2.0,
                "stddev": 1.0}[function]  # fmt: skip
    first, last = rows(table)
    assert (first["time"], first[COUNT]) == (START, 3)
    assert first["power"] == pytest.approx(expected)
    assert first["oil"] == pytest.approx(expected if function == "count" else 10 * expected)
    single = {"count": 1.0, "stddev": None}.get(function, 7.0)
    assert (last["time"], last[COUNT], last.get("power")) == (START + 2 * MINUTE, 1, single)
    assert last.get("oil", 0.0) == 0.0, "no reading of the window has it"


def test_aggregate_windows_are_aligned_to_1970(store: TelemetryStore) -> None:
    every = 7 * MINUTE
    store.write([reading(START + i * MINUTE, power=1.0) for i in range(30)])
    table = store.aggregate("D1", START, START + 30 * MINUTE, function="sum", every=every)
    starts = table["time"].cast(pa.int64()).to_pylist()
    assert all(start % every == 0 for start in starts)
    assert starts[0] <= START < starts[0] + every
    assert sum(table["power"].to_pylist()) == 30.0
    with pytest.raises(ValueError, match="not a metric name"):
        store.aggregate("D1", START, END, function="sum", every=every, metrics=["a-b"])


def test_statistics(store: TelemetryStore) -> None:
    store.write([reading(START + i, power=float(i), **extra({"oil": -1.5}, i == 2)) for i in range(5)])
    statistics = store.statistics("D1", START + 1, END)
    assert statistics.readings == 4
    assert statistics.metrics == {
        "power": MetricStatistics(count=4, min=1.0, max=4.0, sum=10.0),
        "oil": MetricStatistics(count=1, min=-1.5, max=-1.5, sum=-1.5),
    }
    assert {name: metric.mean for name, metric in statistics.metrics.items()} == {"power": 2.5, "oil": -1.5}


def test_device_days(store: TelemetryStore) -> None:
    """By the time of receipt: a late reading's old day is named, an old one is not."""
    today = START // DAY * DAY
    store.write([
        reading(START, "D1"),
        reading(START + MINUTE, "D1"),
        reading(START, "D2", location=None),
        reading(START - 3 * DAY, "D2", received_at=START),
        reading(START - 9 * DAY, "D3"),
    ])  # fmt: skip
    assert store.device_days(START) == [("D1", today), ("D2", today - 3 * DAY), ("D2", today)]
    assert len(store.device_days(START - 30 * DAY)) == 4


def test_numbers_keep_every_digit(store: TelemetryStore) -> None:
    values = [0.1 + 0.2, 1e-300, -1e12, 1.0, 123456789.12345679, -0.0, 5e-324, 2.0**53]
    store.write([reading(START + i, power=value) for i, value in enumerate(values)])
    read = store.read("D1", START, END)["power"].to_pylist()
    assert [v.hex() for v in read] == [v.hex() for v in values]


def test_many_more_than_one_request_holds(store: TelemetryStore) -> None:
    assert store.write([reading(START + i * SECOND, f"D{i % 7}", power=float(i)) for i in range(12_000)]) == []
    assert sum(store.statistics(f"D{i}", START, END).readings for i in range(7)) == 12_000


TAGS = [(status, place) for status in ("failed", "success") for place in (None, "Hall 1", "Halle, 2\\")]
METRICS = st.dictionaries(
    st.sampled_from(["voltage", "power", "oil", "vibration_rms"]),
    st.floats(-1e12, 1e12).map(lambda x: x + 0.0),  # no -0.0, which equals 0.0
    min_size=1,
)


@st.composite
def batches(draw: st.DrawFn) -> list[list[Reading]]:
    """Some readings in any order, many of them again with other values, tags or flags; what comes later came later.

    Tags of a moment do not return to what they were: docs/intake.md says what InfluxDB makes of that.
    """
    stages = st.integers(0, len(TAGS) - 1)
    sent = draw(st.lists(st.tuples(st.integers(0, 5), METRICS, stages), min_size=1, max_size=12))
    made = []
    reached: dict[int, int] = {}
    for i, (time, metrics, stage) in enumerate(sent):
        reached[time] = max(stage, reached.get(time, 0))
        status, location = TAGS[reached[time]]
        flagged = [name for name in metrics if draw(st.booleans())]  # bands may have changed between two deliveries
        made.append(
            Reading(device_id="D1", time=START + time * 7_000_001, metrics=metrics, received_at=END + i,
                    enrichment_status=status, location=location, out_of_band=flagged)
        )  # fmt: skip
    cuts = sorted(draw(st.lists(st.integers(0, len(made)), max_size=3)))
    return [draw(st.permutations(made[i:j])) for i, j in zip([0, *cuts], [*cuts, len(made)], strict=True)]


@pytest.mark.parametrize("location", ["Hall 1", "Hall 2"])
@pytest.mark.parametrize("at_once", [True, False])
def test_the_same_value_judged_by_other_bands(store: TelemetryStore, location: str, at_once: bool) -> None:
    """Sent again after the device's bands were edited, and after that a metric of its own for the same moment."""
    first = [reading(START + i, power=-500.0, oil=1.0, out_of_band=["power"]) for i in range(3)]
    later: dict[str, Any] = {"location": location, "received_at": START + 2 * SECOND}
    again = [reading(START + 1, power=-500.0, out_of_band=[], **later),
             reading(START + 2, oil=1.0, out_of_band=["oil"], **later)]  # fmt: skip
    for batch in [[*first, *again]] if at_once else [first, again]:
        store.write(batch)
    table = store.read("D1", START, END, context=True)
    assert [sorted(names or []) for names in table["out_of_band"].to_pylist()] == [["power"], [], ["oil", "power"]]


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches())
def test_any_order_and_any_repetition_reads_back_the_same(store: TelemetryStore, batches: list[list[Reading]]) -> None:
    device_id = f"D-{secrets.token_hex(8)}"  # the store is the same for all examples
    sent = [[Reading(**{**_fields(r), "device_id": device_id}) for r in batch] for batch in batches]
    for batch in sent:
        assert store.write(batch) == []
        store.write(batch)  # delivered again
    expected = merge([r for batch in sent for r in batch])
    read = store.read(device_id, START, END, context=True)
    assert [_plain(row) for row in rows(read)] == [_plain(_row(r)) for r in expected]
    for name in ("voltage", "power"):
        values = [r.metrics[name] for r in expected if name in r.metrics]
        found = store.statistics(device_id, START, END).metrics.get(name)
        assert (found.count if found else 0) == len(values)
        if found:
            assert (found.min, found.max) == (min(values), max(values))
            assert found.sum == pytest.approx(math.fsum(values), abs=1e-2)


def _fields(r: Reading) -> dict[str, Any]:
    return {name: getattr(r, name) for name in r.__struct_fields__}


def _row(r: Reading) -> dict[str, Any]:
    context = {name: getattr(r, name) for name in CONTEXT.names}
    return {"time": r.time, **r.metrics, **context, "received_at": moment(r.received_at)}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Flags without their order; what is absent left out."""
    flags = {"out_of_band": sorted(row["out_of_band"])} if row.get("out_of_band") else {}
    return {name: value for name, value in row.items() if value is not None and name != "out_of_band"} | flags


@pytest.mark.parametrize("variable", ["DATABASE_URL", "INFLUXDB_URL"])
def test_a_store_that_is_not_there_says_so(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.delenv("POSTGRES_PORT", raising=False)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://energy:x@127.0.0.1:{port}/energy")
    if variable == "INFLUXDB_URL":
        monkeypatch.setenv("INFLUXDB_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("INFLUXDB_TOKEN", "x")
    store = open_telemetry_store(Settings.load())
    for ask in (
        lambda: store.write([reading()]),
        lambda: store.read("D1", START, END),
        lambda: store.aggregate("D1", START, END, function="mean", every=MINUTE),
        lambda: store.statistics("D1", START, END),
        lambda: store.device_days(START),
        store.check,
    ):
        with pytest.raises(StoreUnavailable):
            ask()
    store.close()
