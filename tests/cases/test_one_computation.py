"""Devices as plants have them, over the end of summer time: every place shows the same energy, and the right one."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from assets.datasets.warehouse import query
from assets.energy.figures import energy_figures
from assets.energy.table import TableDays
from orchestration.definitions import defs
from serving.app import create_app
from storage import catalogue, dirty_days
from storage.devices import DeviceMetadata
from storage.settings import Settings
from storage.stores import Stores, open_stores
from storage.telemetry import Reading
from storage.times import DAY, HOUR, MINUTE, microseconds
from tests.cases.platform import Platform

ZONE = ZoneInfo("Europe/Berlin")
FIRST, DAYS = date(2026, 10, 23), 5
BEGIN = microseconds(datetime(2026, 10, 23, tzinfo=UTC))
# Three days of the site, one of them of 25 hours.
MIDNIGHTS = [microseconds(datetime(2026, 10, 24, tzinfo=ZONE) + timedelta(days=n)) for n in range(4)]
START, END = MIDNIGHTS[0], MIDNIGHTS[-1]
HOURS = (END - START) / HOUR
KWH = {"unit": "kWh"}
Values = Callable[[int], dict[str, float] | None]


def hours(time: int) -> float:
    return (time - BEGIN) / HOUR


@dataclass(frozen=True)
class Shape:
    """A device: what it declares and sends each `step` (None: it is silent), and its energy over the three days."""

    values: Values
    kwh: float
    metadata: dict[str, Any] = field(default_factory=dict)
    export: float | None = None
    kinds: frozenset[str] = frozenset()
    step: int = 10 * MINUTE


def register(per_hour: float, odd: dict[int, float] | None = None, *, name: str = "kwh", first: float = 700) -> Values:
    """A register that rises evenly; `odd` has what it shows at some minutes from the begin instead."""
    return lambda time: {name: (odd or {}).get((time - BEGIN) // MINUTE, first + per_hour * hours(time))}


def counters(**declared: dict[str, Any]) -> dict[str, Any]:
    return {"counters": declared}


def minute(time: int) -> int:
    return (time - BEGIN) // MINUTE


def between(first: float, last: float) -> Callable[[int], bool]:
    return lambda time: first < hours(time) < last


def silent(values: Values, outage: Callable[[int], bool]) -> Values:
    return lambda time: None if outage(time) else values(time)


MIDNIGHT = minute(BEGIN + 2 * DAY)
SHAPES = {
    "power": Shape(lambda t: {"power": 1000.0 + 500 * math.sin(hours(t))}, 0),
    "power every 15 minutes": Shape(lambda t: {"power": 900.0}, 0.9 * HOURS, step=15 * MINUTE),
    "power with gaps": Shape(
        silent(lambda t: {"power": 600.0}, between(40.1, 45.4)), 0.6 * (HOURS - 5.5), kinds=frozenset()
    ),
    "register": Shape(register(2.0), 2 * HOURS, counters(kwh=KWH)),
    "register, half of its value twice": Shape(
        register(2.0, {2000: 385.0, 2010: 385.0, 3000: 390.0}), 2 * HOURS, counters(kwh=KWH),
        kinds=frozenset({"outlier"}),
    ),
    "register, a spike at midnight": Shape(
        register(2.0, {MIDNIGHT: 9e5}), 2 * HOURS, counters(kwh=KWH), kinds=frozenset({"outlier"})
    ),
    "register, a glitch at the range's edges": Shape(
        register(2.0, {minute(START): 0.0, minute(END): 0.0}), 2 * HOURS, counters(kwh=KWH),
        kinds=frozenset({"outlier"}),
    ),
    "register in Wh with a factor": Shape(
        register(200.0), 2 * HOURS, counters(kwh={"unit": "Wh", "factor": 10})
    ),
    "pulses": Shape(register(2000.0), 2 * HOURS, counters(kwh={"unit": "pulses", "factor": 0.001})),
    "tariffs with their total": Shape(
        lambda t: {"energy_t1": 5 + hours(t), "energy_t2": 9 + 2 * hours(t), "energy_total": 14 + 3 * hours(t)},
        3 * HOURS, counters(energy_t1=KWH, energy_t2=KWH, energy_total=KWH),
    ),
    "tariffs without their total": Shape(
        lambda t: {"energy_t1": 5 + hours(t), "energy_t2": 9 + 2 * hours(t)}, 3 * HOURS,
        counters(energy_t1=KWH, energy_t2=KWH),
    ),
    "export named return": Shape(
        lambda t: {"delivered": 5 + hours(t), "returned": 9000 + 4 * hours(t)}, HOURS,
        counters(delivered=KWH, returned=KWH), export=4 * HOURS,
    ),
    "hourly register, an outage over midnight": Shape(
        silent(register(1.0), between(44.5, 54.5)), HOURS, counters(kwh=KWH), kinds=frozenset({"gap"}), step=HOUR
    ),
    "register that rolls over at midnight": Shape(
        lambda t: {"kwh": (952.0 + hours(t)) % 1000}, HOURS, counters(kwh=KWH | {"rollover": 1000}),
        kinds=frozenset({"rollover"}),
    ),
    "register that restarts each day": Shape(
        lambda t: {"kwh": 3.0 * (hours(t) % 24)}, 3 * (HOURS - 3 / 6), counters(kwh=KWH), kinds=frozenset({"reset"})
    ),
    "power on change": Shape(
        lambda t: {"power": 1200.0 if hours(t) % 24 < 12 else 0.0} if hours(t) % 12 == 0 else None,
        0, {"reporting": {"power": "on_change"}, "cadence_seconds": 4 * 3600},
    ),
    "power on change that is held too long": Shape(
        lambda t: {"power": 1200.0} if hours(t) % 12 == 0 else None, 0,
        {"reporting": {"power": "on_change"}, "cadence_seconds": 3600}, kinds=frozenset({"step_ended"}),
    ),
    "prosumer": Shape(
        lambda t: {"power": 3000.0 if hours(t) % 24 < 12 else -1000.0}, 0, {"exports": True}, export=0
    ),
    "feed-in only": Shape(lambda t: {"power": -500.0}, 0, {"exports": True}, export=0.5 * HOURS),
}  # fmt: skip


QUICK = ("power with gaps", "tariffs with their total", "register that restarts each day", "prosumer")


def readings(shape: Shape, device_id: str = "D1") -> Iterator[Reading]:
    for time in range(BEGIN, BEGIN + DAYS * DAY, shape.step):
        if metrics := shape.values(time):
            yield Reading(device_id=device_id, time=time, metrics=metrics, received_at=time + 1000)


def store(stores: Stores, sent: list[Reading]) -> None:
    stores.telemetry.write(sent)
    dirty_days.mark_dirty(stores.session, ((reading.device_id, reading.time) for reading in sent))
    stores.session.commit()


@pytest.fixture
def platform(settings: Settings, tmp_path: Path) -> Iterator[Platform]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client, open_stores(settings) as stores:
        yield Platform(client, stores, settings, tmp_path)


def energy(platform: Platform, start: int, end: int, interval: str = "hour") -> dict[str, Any]:
    params = {"start_time": _text(start), "end_time": _text(end), "interval": interval}
    answer = platform.client.get("/api/v1/data/energy/D1", params=params)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def _text(time: int) -> str:
    return datetime.fromtimestamp(time / 1e6, UTC).isoformat()


def whole(kwh: float | None) -> int:
    """Milliwatt-hours; a figure that is not a whole number of them is wrong."""
    amount = (kwh or 0.0) * 1e6
    assert abs(amount - round(amount)) < 1e-4
    return round(amount)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES]
)
def test_every_place_shows_the_same_energy_and_the_right_one(platform: Platform, name: str) -> None:
    shape, stores = SHAPES[name], platform.stores
    body = {"device_id": "D1", "device_name": "n", "device_type": "t"}
    body |= {"metadata_json": shape.metadata | {"timezone": ZONE.key}}  # type: ignore[dict-item] # an object
    assert platform.client.post("/api/v1/devices", json=body).status_code == 201
    sent = list(readings(shape))
    late = sent[len(sent) // 2 :: 7]
    store(stores, [reading for reading in sent if reading not in late])
    platform.export()
    store(stores, late)
    # Days of files, late readings beside them.
    mixed = energy(platform, START, END, "day")
    platform.export()
    answer = energy(platform, START, END, "day")
    assert mixed == answer
    if shape.kwh:
        assert answer["energy_kwh"] == pytest.approx(shape.kwh, abs=0.01)
    if shape.export:
        assert answer["energy_export_kwh"] == pytest.approx(shape.export, abs=0.01)
    assert {finding["kind"] for finding in answer["findings"]} == shape.kinds
    total, fed = whole(answer["energy_kwh"]), whole(answer["energy_export_kwh"])

    # Intervals, in whatever order, and days asked one by one
    for interval in ("15m", "hour", "day", "month"):
        data = energy(platform, START, END, interval)
        items = data["items"] if interval != "hour" else data["items"][::-1]
        assert (whole(data["energy_kwh"]), sum(whole(item["energy_kwh"]) for item in items)) == (total, total)
        assert sum(whole(item["energy_export_kwh"]) for item in items) == fed
    days = [energy(platform, a, b) for a, b in pairwise(MIDNIGHTS)]
    assert [day["energy_kwh"] for day in days] == [item["energy_kwh"] for item in answer["items"]]
    assert [day["coverage"] for day in days] == [item["coverage"] for item in answer["items"]]

    # Statistics and report
    period = [_text(START), _text(END)]
    statistics, report = platform.ask({"stats": period}), platform.ask({"report": period})
    for field_, kpi in (("energy_kwh", "energy"), ("energy_export_kwh", "energy_export"),
                        ("peak_demand_15min", "peak_demand_15min"), ("load_factor", "load_factor")):  # fmt: skip
        assert statistics[field_] == report["kpi"][kpi], field_
    assert (whole(statistics["energy_kwh"]), whole(statistics["energy_export_kwh"])) == (total, fed)
    assert statistics["energy_coverage"] == answer["coverage"] == report["energy"]["coverage"]
    assert statistics["energy_source"] == answer["energy_source"]
    assert statistics["peak_demand_15min"] == answer["peak_demand_15min"]
    assert statistics["load_factor"] is None or 0 <= statistics["load_factor"] <= 1

    # The files' rows
    metadata = DeviceMetadata.model_validate(shape.metadata)
    keys = [key for key, _ in catalogue.current_day_files(stores.session, ["D1"], None, None)]
    rows = [pq.read_table(f"{stores.objects.address}/{key}", partitioning=None) for key in keys]
    names = ["timestamp", *set().union(*(reading.metrics for reading in sent))]
    table = pa.concat_tables([part.select(names) for part in rows]).sort_by("timestamp")
    of_files = energy_figures(TableDays(table), metadata, START, END, END + 30 * DAY)
    assert (whole(of_files.kwh), whole(of_files.export_kwh), of_files.coverage) == (total, fed, answer["coverage"])

    # SQL has the quarter hours; what a register counted over a gap or before a restart is in no quarter hour.
    sql = "SELECT epoch_us(start_time) AS at, energy_kwh, energy_export_kwh FROM energy_quarters"
    quarters = {row["at"]: row for row in query(stores, sql).to_pylist() if START <= row["at"] < END}
    lumps = sum(amount for _, _, amount in of_files.lumps)
    assert sum(whole(row["energy_kwh"]) for row in quarters.values()) == total - lumps
    assert sum(whole(row["energy_export_kwh"]) for row in quarters.values()) == fed
    in_lumps = {until for _, until, _ in of_files.lumps}
    for item in energy(platform, START, END, "15m")["items"]:
        at = microseconds(datetime.fromisoformat(item["start_time"]))
        if not any(at < until <= at + 15 * MINUTE for until in in_lumps):
            assert whole(item["energy_kwh"]) == whole(quarters[at]["energy_kwh"] if at in quarters else None)

    # Dagster's metadata of a UTC day
    with dg.DagsterInstance.ephemeral() as instance:
        run = defs().resolve_job_def("closed_day_job").execute_in_process(partition_key="2026-10-25", instance=instance)
        (shown,) = [m.metadata for m in run.asset_materializations_for_node("telemetry_dataset")]
    of_day = energy(platform, BEGIN + 2 * DAY, BEGIN + 3 * DAY)
    assert shown["energy (kWh)"].value == of_day["energy_kwh"]
