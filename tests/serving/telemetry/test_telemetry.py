import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args
from uuid import uuid4
from zoneinfo import ZoneInfo

import hypothesis
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, strategies as st
from sqlmodel import Session, text

from assets.datasets.export import export_day
from assets.datasets.files import DatasetReplaced
from assets.datasets.reader import TelemetryReader
from serving.telemetry.query import MAX_JSON_BYTES
from storage import catalogue, dirty_days
from storage.device_metrics import add_metrics
from storage.dirty_days import DirtyDay
from storage.objects import open_object_store
from storage.settings import Settings
from storage.stores import Stores, open_telemetry_store
from storage.telemetry import Aggregate, Reading
from storage.times import DAY, HOUR, MINUTE, SECOND, microseconds, moment

START = microseconds(datetime(2026, 2, 12, tzinfo=UTC))
URL = "/api/v1/data/telemetry/D1"
RANGE = "start_time=2026-02-12T00:00:00Z&end_time=2026-02-14T12:00:00Z"
WHOLE = (START, START + DAY * 5 // 2)
# Two and a half days at a reading every ten minutes.
COUNT = 360


def reading(i: int, device_id: str = "D1") -> Reading:
    metrics = {"power": 100.0 + i % 7, "voltage": 230.0, "kwh": (5.0 + i) % 300}
    if i % 2:
        metrics["vibration"] = float(i)
    time = START + 10 * i * MINUTE
    return Reading(device_id=device_id, time=time, metrics=metrics, received_at=time, enrichment_status="success")


@pytest.fixture
def stores(settings: Settings, session: Session) -> Iterator[Stores]:
    telemetry = open_telemetry_store(settings)
    yield Stores(session, telemetry, open_object_store(settings), ZoneInfo("UTC"))
    telemetry.close()


def store(stores: Stores, readings: list[Reading]) -> None:
    stores.telemetry.write(readings)
    touch(stores, readings)


def touch(stores: Stores, readings: list[Reading]) -> None:
    dirty_days.mark_dirty(stores.session, ((r.device_id, r.time) for r in readings))
    stores.session.commit()


@pytest.fixture
def plant(stores: Stores) -> Stores:
    """Telemetry of two and a half days, long ago."""
    store(stores, [reading(i) for i in range(COUNT)])
    return stores


def export(stores: Stores, *days: int) -> None:
    for day in days:
        assert export_day(stores, "D1", date(2026, 2, 12) + timedelta(days=day))


def forget(stores: Stores, day: int) -> None:
    """What retention does: the day's readings leave the store."""
    stores.session.execute(
        text("DELETE FROM device_telemetry WHERE time >= :a AND time < :b"),
        {"a": moment(START + day * DAY), "b": moment(START + (day + 1) * DAY)},
    )
    row = stores.session.get(DirtyDay, ("D1", date(2026, 2, 12) + timedelta(days=day)))
    assert row
    row.expired_at = moment(START + 100 * DAY)
    stores.session.commit()


def items(client: TestClient, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"{URL}?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]["items"]
    return found


def reader(stores: Stores) -> TelemetryReader:
    return TelemetryReader(stores.session, stores.telemetry, stores.objects)


def rows(table: pa.Table) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


@pytest.mark.parametrize("goes_on", [False, True])
def test_one_answer_across_open_and_exported_days(plant: Stores, *, goes_on: bool) -> None:
    """What the store alone answered is what files and store answer together, one day being gone from the store.

    The last day has no file, or one that was made when it was not over.
    """
    start, end = START + 3 * MINUTE, WHOLE[1] - 17 * MINUTE
    alone, store = plant.telemetry, reader(plant)
    raw = alone.read("D1", start, end)
    chosen = alone.read("D1", start, end, metrics=["vibration", "power"], newest=100)
    every = [5 * MINUTE, 60 * MINUTE, 7 * 60 * MINUTE, DAY, 2 * DAY]
    windows = {
        (f, e): alone.aggregate("D1", start, end, function=f, every=e) for f in get_args(Aggregate) for e in every
    }
    statistics = alone.statistics("D1", start, end)
    export(plant, 0, 1, *([2] if goes_on else []))
    forget(plant, 0)
    if goes_on:
        touch(plant, [reading(i) for i in range(324, COUNT)])
    segments = store.plan("D1", start, end)
    assert [s.file is not None for s in segments] == [True, True, goes_on]
    assert segments[2].store_from == (reading(324).time if goes_on else None)
    assert rows(store.read("D1", start, end)) == rows(raw)
    assert store.read("D1", start, end).column_names == raw.column_names
    assert rows(store.read("D1", start, end, metrics=["vibration", "power"], newest=100)) == rows(chosen)
    for (function, length), expected in windows.items():
        found = store.aggregate("D1", start, end, function=function, every=length)
        assert found.column_names == expected.column_names
        for ours, theirs in zip(rows(found), rows(expected), strict=True):
            assert ours.pop("time") == theirs.pop("time")
            assert ours == pytest.approx(theirs), (function, length)
    merged = store.statistics("D1", start, end)
    assert merged.readings == statistics.readings
    assert list(merged.metrics) == list(statistics.metrics)
    for name, metric in statistics.metrics.items():
        assert vars(merged.metrics[name]) == pytest.approx(vars(metric))


def test_statistics_of_whole_hours_need_no_file(plant: Stores) -> None:
    start, end = START + 3 * HOUR, START + DAY + 7 * HOUR
    expected = plant.telemetry.statistics("D1", start, end)
    export(plant, 0, 1)
    for day in (0, 1):
        forget(plant, day)
    for dataset in catalogue.datasets_of(plant.session, "D1"):
        plant.objects.delete(dataset.key)
    found = reader(plant).statistics("D1", start, end)
    assert found.readings == expected.readings
    assert list(found.metrics) == list(expected.metrics)
    assert vars(found.metrics["power"]) == pytest.approx(vars(expected.metrics["power"]))
    with pytest.raises(DatasetReplaced):
        reader(plant).statistics("D1", start + MINUTE, end)


def test_what_came_late_for_a_day_that_retention_took(plant: Stores, client: TestClient) -> None:
    export(plant, 0)
    forget(plant, 0)
    late = Reading(device_id="D1", time=START + MINUTE, metrics={"power": 1.0}, received_at=START + 200 * DAY)
    store(plant, [late])
    day = (START, START + DAY)
    for _ in range(2):
        found = reader(plant).read("D1", *day)
        assert len(found) == 145
        assert found["power"][1].as_py() == 1.0
        assert reader(plant).statistics("D1", *day).readings == 145
        assert len(items(client, "start_time=2026-02-12T00:00:00Z&end_time=2026-02-13T00:00:00Z")) == 145
        export(plant, 0)


def test_readings_as_the_handover_has_them(plant: Stores, client: TestClient) -> None:
    last = items(client, f"{RANGE}&limit=1")
    assert last == [
        {
            "timestamp": "2026-02-14T11:50:00Z", "device_id": "D1", "voltage": 230.0, "current": None, "power": 102.0,
            "temperature": None, "kwh": 64.0, "vibration": 359.0, "device_type": None, "location": None,
            "schema_version": "v1", "enrichment_status": "success",
        }
    ]  # fmt: skip
    export(plant, 0, 1)
    assert items(client, f"{RANGE}&limit=1") == last
    assert items(client, f"{RANGE}&limit=1000")[0]["enrichment_status"] == "success"


@pytest.mark.parametrize(("micros", "written"), [(0, "00:00Z"), (1, "00:00.000001Z"), (250_000, "00:00.250000Z")])
def test_times_are_as_fine_as_the_readings(stores: Stores, client: TestClient, micros: int, written: str) -> None:
    store(stores, [Reading(device_id="D1", time=START + micros, metrics={"power": 1.0}, received_at=START)])
    assert items(client, RANGE)[0]["timestamp"] == f"2026-02-12T00:{written}"


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("extra", ["", "&fields=vibration", "&interval=25m", "&interval=1h&aggregate=max"])
def test_pages_give_everything_once(plant: Stores, client: TestClient, order: str, extra: str) -> None:
    export(plant, 1)
    whole = items(client, f"{RANGE}&limit=10000{extra}&order={order}")
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(20):
        data = client.get(f"{URL}?{RANGE}&limit=37{extra}&order={order}{cursor}").json()["data"]
        found = [*found, *data["items"]] if order == "desc" else [*data["items"], *found]
        if data["next_cursor"] is None:
            break
        cursor = f"&cursor={data['next_cursor']}"
    assert found == whole


def test_bulk_formats(plant: Stores, client: TestClient) -> None:
    export(plant, 0, 1)
    expected = items(client, f"{RANGE}&limit=10000&fields=power,vibration")

    def ask(accept: str, extra: str = "") -> Any:
        answer = client.get(f"{URL}?{RANGE}&fields=power,vibration{extra}", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(accept.partition(";")[0])
        return answer

    csv = pyarrow.csv.read_csv(io.BytesIO(ask("text/csv").content))
    arrow = pa.ipc.open_stream(ask("application/vnd.apache.arrow.stream").content).read_all()
    parquet = pq.read_table(io.BytesIO(ask("application/vnd.apache.parquet").content))
    for table in (csv, arrow, parquet):
        assert table.column_names == ["timestamp", "device_id", "power", "vibration"]
        assert table["power"].to_pylist() == [item["power"] for item in expected]
    paged = ask("text/csv", "&limit=100")
    rest = ask("text/csv", f"&limit=10000&cursor={paged.headers['x-next-cursor']}")
    assert len(paged.text.splitlines()) + len(rest.text.splitlines()) - 2 == COUNT
    assert "x-next-cursor" not in rest.headers
    assert client.get(f"{URL}?{RANGE}", headers={"Accept": "text/html"}).status_code == 406
    assert ask("application/json;q=0.5").json()["success"] is True


def test_several_devices_and_filters(plant: Stores, client: TestClient) -> None:
    store(plant, [reading(i, "D2") for i in range(COUNT)])
    export(plant, 0)
    asked = {"device_ids": ["D2", "D1"], "start_time": "2026-02-12T00:00:00Z", "end_time": "2026-02-14T12:00:00Z"}
    filters = [{"field": "power", "op": ">=", "value": 106}, {"field": "vibration", "op": "!=", "value": 13}]
    found: list[dict[str, Any]] = []
    body: dict[str, Any] = asked | {"filters": filters, "fields": ["power", "kwh"], "limit": 7}
    while True:
        data = client.post("/api/v1/data/query", json=body).json()["data"]
        found = [*data["items"], *found]
        if data["next_cursor"] is None:
            break
        body["cursor"] = data["next_cursor"]
    wanted = [i for i in range(COUNT) if i % 7 == 6 and i % 2 and i != 13]
    assert [(r["device_id"], r["power"]) for r in found] == [(d, 106.0) for _ in wanted for d in ("D1", "D2")]
    windows = client.post("/api/v1/data/query", json=asked | {"filters": filters, "aggregate": "sum", "interval": "1d"})
    assert sum(item["count"] for item in windows.json()["data"]["items"]) == 2 * len(wanted)
    single = {"device_id": "D1", "start_time": asked["start_time"], "end_time": asked["end_time"], "limit": 1}
    assert client.post("/api/v1/data/query", json=single).json()["data"]["items"][0]["kwh"] == 64.0


def test_statistics_and_energy(plant: Stores, client: TestClient) -> None:
    url = f"/api/v1/data/stats/D1?{RANGE}"
    before = client.get(url).json()["data"]
    assert (before["device_id"], before["start_time"], before["end_time"]) == (
        "D1", "2026-02-12T00:00:00Z", "2026-02-14T12:00:00Z"
    )  # fmt: skip
    powers = [100.0 + i % 7 for i in range(COUNT)]
    assert (before["power_min"], before["power_max"], before["data_points"]) == (100.0, 106.0, COUNT)
    assert before["power_total"] == pytest.approx(sum(powers))
    assert before["current_avg"] is None
    assert before["vibration_max"] == 359.0
    integral = sum((a + b) / 2 / 6 for a, b in pairwise(powers)) / 1000
    # Each quarter hour is rounded to a milliwatt-hour.
    assert before["energy_kwh"] == pytest.approx(integral, abs=240 * 0.5e-6)
    assert before["energy_source"] == "integral:power"
    assert 100 < before["peak_demand_15min"] < 106
    assert before["consumption"] == {}
    export(plant, 0, 1)
    after = client.get(url).json()["data"]
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert after[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_energy_from_a_counter_that_rolls_over(plant: Stores, client: TestClient) -> None:
    counters = {"kwh": {"unit": "kWh", "rollover": 300}, "vibration": {"unit": "m3"}}
    body = {"device_id": "D1", "device_name": "n", "device_type": "t", "metadata_json": {"counters": counters}}
    client.post("/api/v1/devices", json=body)
    url = f"/api/v1/data/stats/D1?{RANGE}"
    before = client.get(url).json()["data"]
    assert before["energy_source"] == "counter:kwh"
    assert before["energy_kwh"] == pytest.approx(COUNT - 1)
    assert before["consumption"] == {
        "kwh": {"value": pytest.approx(COUNT - 1), "unit": "kWh"},
        "vibration": {"value": pytest.approx(COUNT - 2), "unit": "m3"},
    }
    assert before["peak_demand_15min"] == pytest.approx(6000)  # 1 kWh in ten minutes
    export(plant, 0, 1)
    after = client.get(url).json()["data"]
    for name in ("energy_kwh", "peak_demand_15min"):
        assert after[name] == pytest.approx(before[name])
    assert after["consumption"]["kwh"]["value"] == pytest.approx(COUNT - 1)
    catalogue_rows = catalogue.datasets_of(plant.session, "D1", kind="day")
    assert [sorted(row.energy["metrics"]) for row in catalogue_rows if row.energy] == [
        ["kwh", "power", "vibration"]
    ] * 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("start_time=2026-02-12T00:00:00", "start_time"),
        ("start_time=2026-02-12", "start_time"),
        ("end_time=1770854400", "end_time"),
        ("start_time=0001-01-01T00:00:00Z", "start_time"),
        ("start_time=2026-02-13T00:00:00Z&end_time=2026-02-12T00:00:00Z", "start_time"),
        ("start_time=2000-01-01T00:00:00Z", "start_time"),
        ("fields=Power", "fields"),
        ("fields=", "fields"),
        ("aggregate=mode", "aggregate"),
        ("interval=0m", "interval"),
        ("interval=5", "interval"),
        ("interval=32d", "interval"),
        ("start_time=2020-01-01T00:00:00Z&interval=1s", "interval"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("order=random", "order"),
        ("cursor=nonsense", "cursor"),
        ("cursor=MS4yLjk5OTk5", "cursor"),
    ],
)
def test_questions_that_are_none(client: TestClient, query: str, field: str) -> None:
    answer = client.get(f"{URL}?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_devices_that_nobody_knows(plant: Stores, client: TestClient) -> None:
    assert client.get(URL).json()["data"]["items"] == []  # nothing in the last day, but there is telemetry
    for answer in (
        client.get("/api/v1/data/telemetry/D9"),
        client.get("/api/v1/data/stats/D9"),
        client.post("/api/v1/data/query", json={"device_ids": ["D1", "D9"]}),
    ):
        assert answer.status_code == 404
    assert client.post("/api/v1/data/query", json={}).status_code == 422
    paginate = client.get("/api/v1/data/unregistered").json()
    assert [(d["device_id"], d["first_day"], d["last_day"], d["deleted"]) for d in paginate["data"]] == [
        ("D1", "2026-02-12", "2026-02-14", False)
    ]
    client.post("/api/v1/devices", json={"device_id": "D1", "device_name": "n", "device_type": "t"})
    assert client.get("/api/v1/data/unregistered").json()["total"] == 0
    client.delete("/api/v1/devices/D1")
    assert client.get("/api/v1/data/unregistered").json()["data"][0]["deleted"] is True


def test_a_file_that_is_just_being_made_again_is_asked_for_later(plant: Stores, client: TestClient) -> None:
    export(plant, 0)
    forget(plant, 0)
    plant.objects.put("datasets/D1/20260212_20260212.parquet", b"half of it")
    answer = client.get(f"{URL}?{RANGE}&limit=1000")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize("is_counted", [False, True])
@given(data=st.data())
@hypothesis.settings(max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_statistics_from_the_catalogue_are_those_from_readings(
    stores: Stores, client: TestClient, is_counted: bool, data: st.DataObject
) -> None:
    """Of any readings and any range, whichever of the days have files; then some come late and count at once."""
    device_id = f"D{uuid4().hex[:12]}"
    if is_counted:
        metadata = {"counters": {"kwh": {"unit": "kWh", "rollover": 50}}}
        body = {"device_id": device_id, "device_name": "n", "device_type": "t", "metadata_json": metadata}
        assert client.post("/api/v1/devices", json=body).status_code == 201
    # Minutes since the first day's start: three days, with gaps, days without any and readings at midnight; or
    # an hour, of which a part has the same rule for gaps as its day.
    minutes = data.draw(
        st.lists(st.integers(0, 3 * 1440 - 1) | st.sampled_from([0, 1440, 2880]), min_size=1, max_size=80, unique=True)
        | st.integers(0, 3 * 1440 - 60).map(lambda first: list(range(first, first + 60)))
    )
    number = st.none() | st.floats(0, 50)
    metrics = [{name: value for name in ("power", "kwh") if (value := data.draw(number)) is not None} for _ in minutes]
    made = [
        Reading(device_id=device_id, time=START + m * MINUTE, metrics=values or {"voltage": 230.0}, received_at=START)
        for m, values in zip(minutes, metrics, strict=True)
    ]
    store(stores, made)
    end = data.draw(st.integers(1, 3 * 1440) | st.sampled_from([1440, 2880, 4320, *(m + 1 for m in minutes)]))
    start = data.draw(st.integers(0, end - 1) | st.sampled_from([0, *(m for m in minutes if m < end)]))
    period = {
        "start_time": moment(START + start * MINUTE).isoformat(),
        "end_time": moment(START + end * MINUTE).isoformat(),
    }

    def ask() -> dict[str, Any]:
        answer = client.get(f"/api/v1/data/stats/{device_id}", params=period)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["data"]
        return found

    def same(one: dict[str, Any], other: dict[str, Any]) -> None:
        assert one.keys() == other.keys()
        for name, value in one.items():
            # Of quarter hours that are equal but for rounding either may be called the highest.
            if name not in ("consumption", "peak_demand_15min_at"):
                assert other[name] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), name
        assert other["consumption"] == {
            name: {"value": pytest.approx(used["value"], abs=1e-6), "unit": used["unit"]}
            for name, used in one["consumption"].items()
        }

    before = ask()
    for day in data.draw(st.sets(st.sampled_from(sorted({moment(r.time).date() for r in made})))):
        assert export_day(stores, device_id, day)
    same(before, ask())
    # Between readings of before, or in the place of one.
    seconds = [start * 60 + 1, *data.draw(st.lists(st.integers(start * 60, end * 60 - 1), max_size=5))]
    times = {START + s * SECOND for s in seconds} | {made[0].time}
    for t in data.draw(st.permutations(sorted(times))):
        store(stores, [Reading(device_id=device_id, time=t, metrics={"power": 99.0}, received_at=START + 1)])
    after = ask()
    added = {t for t in times if t < START + end * MINUTE and t >= START + start * MINUTE} - {r.time for r in made}
    assert (after["data_points"], after["power_max"]) == (before["data_points"] + len(added), 99.0)
    for day in {moment(t).date() for t in times}:
        assert export_day(stores, device_id, day)
    same(after, ask())


def test_a_page_of_many_metrics_is_bounded_in_bytes(client: TestClient, stores: Stores) -> None:
    """A thousand readings of 256 metrics with long names are 20 MB."""
    names = [f"{'a_very_long_name_of_a_channel':_<59}{i:03}" for i in range(256)]
    metrics = dict.fromkeys(names, 1.5)
    store(
        stores, [Reading(device_id="D1", time=START + i * SECOND, metrics=metrics, received_at=0) for i in range(1000)]
    )
    add_metrics(stores.session, {"D1": names}, 256)
    stores.session.commit()
    answer = client.get(f"{URL}?{RANGE}")
    first = answer.json()["data"]
    assert len(answer.content) < MAX_JSON_BYTES
    assert 100 < len(first["items"]) < 1000
    second = client.get(f"{URL}?{RANGE}&cursor={first['next_cursor']}").json()["data"]
    times = [item["timestamp"] for page in (second, first) for item in page["items"]]
    assert times == sorted(set(times))
    assert (len(times), second["next_cursor"]) == (1000, None)
    statistics = client.get(f"/api/v1/data/stats/D1?{RANGE}").json()["data"]
    assert (statistics[f"{names[-1]}_max"], statistics["metrics_left_out"]) == (1.5, 0)
