"""Inputs that energy platforms get wrong, through intake or import, exports, the API and reports (`README.md`)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from storage.settings import Settings
from storage.stores import open_stores
from storage.times import microseconds, utc_now
from tests.cases.expectations import failures
from tests.cases.platform import CASES, Platform

# What the catalogue and the readings must agree on to the digit.
EXACT = ("energy_kwh", "energy_export_kwh", "energy_source", "energy_coverage", "energy_findings", "mean_power",
         "load_factor", "peak_demand_15min", "peak_demand_15min_at", "consumption")  # fmt: skip
SLOW = ("forecast",)
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if case["kind"] in SLOW else [])
    for name, case in CASES.items()
    if case["feed"] != "steps"
]
WITH_ENERGY = [name for name, case in CASES.items() if case["kind"] in ("counter", "power")]


def needs_files(question: dict[str, Any]) -> bool:
    """Whether the question is about days that are in their files."""
    return "report" in question or "analysis" in question or question.get("post", "").startswith("/api/v1/analytics")


@pytest.fixture
def platform(settings: Settings, tmp_path: Path) -> Iterator[Platform]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client, open_stores(settings) as stores:
        yield Platform(client, stores, settings, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_case(platform: Platform, name: str) -> None:
    case = CASES[name]
    body: dict[str, Any] = {"device_id": "D1", "device_name": "D1", "device_type": "meter"}
    if "metadata" in case:
        body["metadata_json"] = case["metadata"]
    assert platform.client.post("/api/v1/devices", json=body).status_code == 201
    fed = platform.feed(case)
    at_once = fed | {
        label: platform.ask(question) for label, question in case["ask"].items() if not needs_files(question)
    }
    platform.export()
    answers = fed | {label: platform.ask(question) for label, question in case["ask"].items()}
    assert failures(answers, case["expect"]) == []
    if not any(needs_files(question) for question in case["ask"].values()):
        assert failures(at_once, case["expect"]) == []
    statistics = [label for label, question in case["ask"].items() if "stats" in question]
    for label in statistics:
        for field in EXACT:
            assert answers[label][field] == at_once[label][field]


@pytest.mark.parametrize("name", WITH_ENERGY)
def test_every_place_has_the_same_energy(platform: Platform, name: str) -> None:
    """Statistics, the energy route, the catalogue behind them and the report agree on a case's days."""
    case = CASES[name]
    body = {"device_id": "D1", "device_name": "D1", "device_type": "meter", "metadata_json": case["metadata"]}
    assert platform.client.post("/api/v1/devices", json=body).status_code == 201
    platform.feed(case)
    platform.export()
    question = next(iter(case["ask"].values()))
    start, end = question.get("stats") or question["report"]
    statistics = platform.ask({"stats": [start, end]})
    report = platform.ask({"report": [start, end]})
    assert report["kpi"]["energy"] == statistics["energy_kwh"]
    assert report["kpi"]["peak_demand_15min"] == statistics["peak_demand_15min"]
    assert report["kpi"]["load_factor"] == statistics["load_factor"]
    assert report["kpi"]["energy_export"] == statistics["energy_export_kwh"]
    assert report["energy"]["coverage"] == statistics["energy_coverage"]
    for interval in ("15m", "hour", "day", "month"):
        answer = platform.client.get(
            "/api/v1/data/energy/D1", params={"start_time": start, "end_time": end, "interval": interval}
        )
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert data["energy_kwh"] == statistics["energy_kwh"]
        parts = [round(item["energy_kwh"] * 1e6) for item in data["items"] if item["energy_kwh"] is not None]
        assert sum(parts) == round((statistics["energy_kwh"] or 0) * 1e6)
    length = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    assert length > timedelta()
    assert microseconds(datetime.fromisoformat(end)) < microseconds(utc_now())
