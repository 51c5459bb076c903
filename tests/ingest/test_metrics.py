import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlmodel import Session

from ingest.metrics import DURATION_BUCKETS, Histogram, IngestMetrics
from ingest.monitor import STUCK_SECONDS, Monitor, readiness
from ingest.mqtt.probe import Probe
from storage.rules import Rule
from storage.settings import Settings, SettingsError
from storage.telemetry import StoreUnavailable
from tests.support.running import Ingester, device, ingesting, nats_broker
from tests.support.servers import wait_until

Scrape = dict[str, float]


def parse(text: str) -> Scrape:
    return {
        "/".join([sample.name.removeprefix("energy_ingest_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_counts_as_prometheus_does(values: list[float]) -> None:
    histogram = Histogram("seconds", "", DURATION_BUCKETS)
    histogram.observe(values)
    family = histogram.metric()
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert buckets == {f"{edge:g}": sum(v <= edge for v in values) for edge in DURATION_BUCKETS} | {"+Inf": len(values)}
    assert sum(s.value for s in family.samples if s.name.endswith("_sum")) == pytest.approx(sum(values))


@pytest.fixture
def monitored(settings: Settings) -> Iterator[tuple[Settings, Ingester, str]]:
    with nats_broker(settings), ingesting(settings) as ingester:
        monitor = Monitor(settings.ingest_metrics_port, ingester.subscription, ingester.store, ingester.metrics)
        monitor.start()
        yield settings, ingester, f"http://127.0.0.1:{settings.ingest_metrics_port}"
        monitor.stop()


def test_readings_add_up_at_every_scrape_under_load(monitored: tuple[Settings, Ingester, str]) -> None:
    settings, ingester, url = monitored
    with Session(ingester.engine) as session:
        session.add(Rule(rule_name="Much", scope="all_devices", property="power", condition=">", threshold=400))
        session.commit()
    wait_until(lambda: ingester.registry.rules, "the rule is known")
    messages, items = 400, 25
    done = threading.Event()
    scrapes: list[Scrape] = []

    def scrape() -> None:
        with httpx.Client() as client:
            while not done.is_set():
                scrapes.append(parse(client.get(f"{url}/metrics").text))

    scraper = threading.Thread(target=scrape)
    scraper.start()
    now = datetime.now(UTC)
    with device(settings) as machine:
        for i in range(messages):
            batch: list[dict[str, Any]] = [
                {"timestamp": (now - timedelta(seconds=i * items + j)).isoformat(), "power": float(j)}
                for j in range(items - 2)
            ]
            batch += [{"timestamp": now.isoformat(), "power": 1e9}, {"timestamp": "yesterday"}]
            machine.post(f"D{i % 7}", batch)
        machine.send("D1", {"timestamp": (now + timedelta(seconds=5)).isoformat(), "power": 500.0, "note": "?"})
        machine.send("D1", b"{")
    total = messages * items + 2
    wait_until(lambda: ingester.metrics.received == total and not ingester.metrics.in_flight, "everything is kept")
    done.set()
    scraper.join()
    last = parse(httpx.get(f"{url}/metrics").text)
    assert len(scrapes) > 3
    for sample in (*scrapes, last):
        kept = sample["stored_total"] + sample["quarantined_total"] + sample["in_flight"]
        assert sample["received_total"] == kept
        assert sample["in_flight"] >= 0
    assert any(sample["in_flight"] for sample in scrapes)
    assert last["stored_total"] == messages * (items - 2) + 1
    assert last["quarantined_total"] == messages * 2 + 1
    assert last["alerts_total"] == 1
    assert last["rule_evaluations_total"] == last["stored_total"]
    assert last["ignored_keys_total"] == 1
    assert last["probe_reconnects_total"] == 0
    assert last["probe_age_seconds"] < 60
    assert last["commit_seconds_count"] == last["arrival_lag_seconds_count"] == last["stored_total"]
    assert last["batch_readings_sum"] == last["stored_total"]
    assert last["store_write_seconds_count"] == last["batch_readings_count"] > 0
    # The reading ahead of the clock counts as one that took no time.
    assert last["arrival_lag_seconds_bucket/0.1"] >= 1
    assert 0 < last["commit_seconds_sum"] < 60 * last["stored_total"]


def test_ready_says_what_is_missing(monitored: tuple[Settings, Ingester, str], monkeypatch: Any) -> None:
    settings, ingester, url = monitored
    with device(settings) as machine:
        machine.send("D1", {"timestamp": int(time.time() * 1000), "power": 1.0})
    wait_until(lambda: ingester.metrics.stored == 1, "the reading is stored")
    answer = httpx.get(f"{url}/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "checks": {"broker": "connected", "telemetry_store": "connected", "intake": "works", "loops": "work"},
        "last_processed_seconds_ago": pytest.approx(1, abs=5),
        "in_flight": 0,
        "probe_came_back_seconds_ago": pytest.approx(1, abs=5),
    }

    def away() -> None:
        raise StoreUnavailable("PostgreSQL: it is away")

    monkeypatch.setattr(ingester.store, "check", away)
    answer = httpx.get(f"{url}/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["telemetry_store"] == "PostgreSQL: it is away"
    with pytest.raises(SettingsError, match=f"INGEST_METRICS_PORT={settings.ingest_metrics_port}"):
        Monitor(settings.ingest_metrics_port, ingester.subscription, ingester.store, ingester.metrics)


class Connected:
    connected = is_receiving = True
    probe = Probe("test")

    def check(self) -> None:
        """It answers."""


def test_readings_that_wait_for_ever_are_no_readiness() -> None:
    metrics, answers = IngestMetrics(), Connected()
    metrics._last_commit -= STUCK_SECONDS + 1
    assert readiness(answers, answers, metrics)["ready"]  # type: ignore[arg-type]
    metrics.batch_decoded(3)
    answer = readiness(answers, answers, metrics)  # type: ignore[arg-type]
    assert not answer["ready"]
    assert answer["checks"]["intake"] == "3 readings have been waiting for 31 s"
    metrics.batch_committed([], quarantined=3)
    assert readiness(answers, answers, metrics)["ready"]  # type: ignore[arg-type]


class Silent(Connected):
    is_receiving = False


def test_a_connection_that_brings_nothing_is_no_readiness() -> None:
    answer = readiness(Silent(), Silent(), IngestMetrics())  # type: ignore[arg-type]
    assert not answer["ready"]
    assert "nothing arrives, not even a probe" in answer["checks"]["broker"]
    unknown = Connected()
    unknown.probe = Probe("test")
    unknown.probe._has_warned = True
    answer = readiness(unknown, unknown, IngestMetrics())  # type: ignore[arg-type]
    assert answer["ready"]
    assert "lets no probe through" in answer["checks"]["broker"]


def test_metrics_of_a_process_that_did_nothing_yet() -> None:
    registry = CollectorRegistry()
    metrics = IngestMetrics()
    registry.register(metrics)
    metrics.batch_committed([], quarantined=0)
    found = parse(generate_latest(registry).decode())
    assert found["received_total"] == found["commit_seconds_count"] == 0
    assert np.isfinite(found["idle_seconds"])
