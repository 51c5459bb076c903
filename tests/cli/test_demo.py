"""The demo as a newcomer runs it: the whole flow, and once more in the same home."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.demo import fleet
from tests.cli.conftest import LocalPlatform

END = datetime(2026, 5, 1, tzinfo=UTC)


def once(platform: LocalPlatform) -> dict[str, Any]:
    done = platform.run("demo", "--once")
    assert done.returncode == 0, done.stderr + done.stdout
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_flow_and_a_second_run_that_duplicates_nothing(platform: LocalPlatform) -> None:
    first = once(platform)
    assert first["failed"] == []
    assert first["readings"] == {"received": 21_600, "stored": 21_600, "quarantined": 0}
    assert first["alerts"] > 0
    assert [d["device_id"] for d in first["datasets"]] == fleet.DEVICE_IDS
    assert sum(d["rows"] for d in first["datasets"]) == 21_600
    assert {(a["device_id"], a["analysis_type"]) for a in first["analytics"]} == {
        (device_id, kind) for device_id in fleet.DEVICE_IDS for kind in ("anomaly", "forecast")
    }
    assert {a["state"] for a in first["analytics"]} == {"completed"}
    assert {a["model_name"] for a in first["analytics"]} == {"isolation_forest", "auto"}
    assert [r["format"] for r in first["reports"]] == ["pdf", "json", "excel"]
    assert all(r["figures"]["size_bytes"] > 10_000 for r in first["reports"])
    anomalies = {a["device_id"]: a["figures"] for a in first["analytics"] if a["analysis_type"] == "anomaly"}
    assert all(figures["events"] > 0 for figures in anomalies.values())

    second = once(platform)
    assert second == first


def test_samples_are_the_series_and_never_its_labels() -> None:
    samples = fleet.history(END)
    assert len(samples) == 21_600
    assert {name for sample in samples for name in json.loads(sample.payload())} == {
        "timestamp", "voltage", "current", "power", "reactive_power"
    }  # fmt: skip
    newest = {sample.device_id: sample.time for sample in samples}
    assert set(newest.values()) == {END}
