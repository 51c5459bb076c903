"""Intake end to end at QoS 1: 1,000 devices, 100 active rules: embedded (NATS, PostgreSQL), then production.

Embedded is measured against a bare consumer of the same broker, which acknowledges messages and does nothing else.
Production is measured against Telegraf on the same broker, InfluxDB and load: `mqtt_consumer` to `influxdb_v2`,
persistent session, batches of 5,000; it keeps no quarantine, dirty days or rules. Each run ends when its last reading
is stored, nothing in flight. `--seconds N` of load for each (60); `--only production` or `embedded`; `--ingesters N`
side by side in a shared subscription, in production.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
import psycopg
from influxdb_client.client.influxdb_client import InfluxDBClient

from benchmarks.bare_consumer import BYTES
from benchmarks.floors import say
from benchmarks.load import folder, populate, pour
from tests.support.publisher import Fleet, Publisher
from tests.support.servers import program, wait_until
from tests.support.stack import INFLUXDB_TOKEN, PLATFORM, SOURCE, Server, Stack

TELEGRAF = """
[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = 200000
  omit_hostname = true
  quiet = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{broker}"]
  topics = ["devices/+/telemetry"]
  qos = 1
  persistent_session = true
  client_id = "telegraf"
  username = "{user}"
  password = "{password}"
  max_undelivered_messages = 20000
  topic_tag = ""
  data_format = "json_v2"
  [[inputs.mqtt_consumer.topic_parsing]]
    topic = "devices/+/telemetry"
    tags = "_/device_id/_"
  [[inputs.mqtt_consumer.json_v2]]
    measurement_name = "device_telemetry"
    timestamp_path = "timestamp"
    timestamp_format = "2006-01-02T15:04:05Z"
    [[inputs.mqtt_consumer.json_v2.field]]
      path = "voltage"
      type = "float"
    [[inputs.mqtt_consumer.json_v2.field]]
      path = "current"
      type = "float"
    [[inputs.mqtt_consumer.json_v2.field]]
      path = "power"
      type = "float"
    [[inputs.mqtt_consumer.json_v2.field]]
      path = "temperature"
      type = "float"
    [[inputs.mqtt_consumer.json_v2.tag]]
      path = "schema_version"
[[outputs.influxdb_v2]]
  urls = ["{influxdb}"]
  token = "{token}"
  organization = "energy"
  bucket = "telegraf"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=["production", "embedded"])
    parser.add_argument("--ingesters", type=int, default=1)
    asked, _ = parser.parse_known_args(sys.argv[1:])
    if asked.only != "production":
        embedded(asked.seconds)
    if asked.only != "embedded":
        production(asked.seconds, asked.ingesters)


def production(seconds: float, ingesters: int) -> None:
    with folder() as place, Stack("production", place) as stack, httpx.Client() as http:
        populate(stack.settings)
        fleet = Fleet()
        url = stack.variables["INFLUXDB_URL"]
        names = side_by_side(stack, ingesters)
        ours = run("energy platform", stack, fleet, 0, seconds, lambda: points_written(http, url), "ingester")
        check_balance(stack, ours, names)
        for name in names:
            stack.kill(name, 15)
        influx_count(url, "telemetry", ours)
        with ExitStack() as ends:
            stack.servers["telegraf"] = telegraf(stack, place)
            stack.processes["telegraf"] = ends.enter_context(stack.servers["telegraf"].running())
            theirs = run("telegraf", stack, fleet, 5_000, seconds, lambda: points_written(http, url), "telegraf")
        influx_count(url, "telegraf", theirs)
        ratio = ours["rate"] / theirs["rate"]
        say("ratio to Telegraf", f"{ratio:.2f}", "at least 0.95", met=ratio >= 0.95)
        say("resident memory", f"{ours['memory']:.0f} MB", "below 300 MB", met=ours["memory"] < 300)


def side_by_side(stack: Stack, count: int) -> list[str]:
    """The names of the ingesters; more than one share the messages in a group."""
    names = ["ingester", *(f"ingester-{i}" for i in range(2, count + 1))]
    if count > 1:
        stack.kill("ingester", 15)
        for name in names:
            stack.add_ingester(name, MQTT_SHARED_GROUP="plant", MQTT_CLIENT_ID=name)
    return names


def embedded(seconds: float) -> None:
    with folder() as place, Stack("embedded", place) as stack:
        populate(stack.settings)
        fleet = Fleet()
        found = run("energy platform, embedded", stack, fleet, 0, seconds, lambda: stack.counts()["stored"], "ingester")
        check_balance(stack, found, ["ingester"])
        with psycopg.connect(stack.settings.database_url) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM device_telemetry").fetchone() or (0,)
        assert rows == found["published"], f"{rows} rows of {found['published']} readings"
        stack.kill("ingester", 15)
        counter = place / "taken"
        stack.servers["bare"] = Server(
            [sys.executable, "-m", "benchmarks.bare_consumer", counter], 0, place / "bare.log",
            lambda: counter.stat().st_size == BYTES, stack.variables, {"start_new_session": True},
        )  # fmt: skip
        stack.start("bare")
        bare = run("bare consumer", stack, fleet, 5_000, seconds, lambda: taken(counter), "bare")
        ratio = found["rate"] / bare["rate"]
        say("ratio to the bare consumer", f"{ratio:.2f}", "at least 0.95", met=ratio >= 0.95)
        met = found["rate"] >= 20_000 or ratio >= 0.95
        say("embedded", f"{found['rate']:,.0f}/s", "at least 20,000/s, or what the broker gives", met=met)
        say("resident memory", f"{found['memory']:.0f} MB", "below 300 MB", met=found["memory"] < 300)


def taken(counter: Path) -> float:
    return int.from_bytes(counter.read_bytes()[:BYTES], "big")


def run(  # noqa: PLR0917 - the facts of one run
    name: str, stack: Stack, fleet: Fleet, tick: int, seconds: float, stored: Callable[[], float], consumer: str
) -> dict[str, Any]:
    """Pour the load, watch the processes."""
    process = psutil.Process(stack.processes[consumer].pid)
    parts = {part: psutil.Process(p.pid) for part, p in stack.processes.items() if p.poll() is None}
    parts["source"] = psutil.Process()
    publisher = Publisher(stack.servers["broker"].port, SOURCE if stack.profile == "production" else None)
    memory: list[float] = []

    def watching() -> float:
        memory.append(process.memory_info().rss / 1e6)
        return stored()

    before = {part: cpu(p) for part, p in parts.items()}
    published, took, rates = pour(publisher, fleet, tick, seconds, watching)
    spent = {part: (cpu(p) - before[part]) / published * 1e6 for part, p in parts.items()}
    publisher.settle()
    publisher.close()
    rate = published / took
    print(f"{name}: {published:,} readings in {took:.1f} s, {rate:,.0f}/s", end="")
    if rates:
        print(f" (fifth seconds: median {median(rates):,.0f}, {min(rates):,.0f} to {max(rates):,.0f})", end="")
    third = max(1, len(memory) // 3)
    print(f"; resident {memory[0]:.0f} → {memory[-1]:.0f} MB, at most {max(memory):.0f}, median of the", end="")
    print(f" first third {median(memory[:third]):.0f}, of the last {median(memory[-third:]):.0f}")
    print("  CPU µs a reading: " + ", ".join(f"{part} {micros:.1f}" for part, micros in spent.items()), flush=True)
    return {"rate": rate, "published": published, "memory": max(memory)}


def cpu(process: psutil.Process) -> float:
    """Seconds, children's too: PostgreSQL is many."""
    total = 0.0
    for one in [process, *process.children(recursive=True)] if process.pid != psutil.Process().pid else [process]:
        times = one.cpu_times()
        total += times.user + times.system
    return total


def points_written(http: httpx.Client, url: str) -> float:
    """InfluxDB's own count, the same for whoever writes."""
    for line in http.get(f"{url}/metrics").text.splitlines():
        if line.startswith("storage_writer_ok_points_sum"):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def check_balance(stack: Stack, found: dict[str, Any], names: list[str]) -> None:
    wait_until(lambda: all(not stack.counts(name)["in_flight"] for name in names), "no reading is in flight")
    every = [stack.counts(name) for name in names]
    counts = {key: sum(one[key] for one in every) for key in every[0]}
    print("  balance: " + ", ".join(f"{k} {counts[k]:.0f}" for k in ("received", "stored", "quarantined", "in_flight",
                                                                   "redelivered", "alerts")))  # fmt: skip
    assert counts["received"] - counts["redelivered"] == counts["stored"] - counts["redelivered"] == found["published"]


def influx_count(url: str, bucket: str, found: dict[str, Any]) -> None:
    with InfluxDBClient(url, INFLUXDB_TOKEN, org="energy", timeout=120_000) as client:
        flux = (
            f'from(bucket: "{bucket}") |> range(start: -12h, stop: 12h) |> filter(fn: (r) => r._field == "power")'
            " |> count() |> group() |> sum()"
        )
        rows = client.query_api().query(flux)[0].records[0].get_value()
    assert rows == found["published"], f"{rows} points of {found['published']} readings in {bucket}"


def telegraf(stack: Stack, place: Path) -> Server:
    url = stack.variables["INFLUXDB_URL"]
    with InfluxDBClient(url, INFLUXDB_TOKEN, org="energy") as client:
        client.buckets_api().create_bucket(bucket_name="telegraf")
    config = place / "telegraf.conf"
    port = stack.servers["broker"].port
    values = {"broker": port, "user": PLATFORM[0], "password": PLATFORM[1], "influxdb": url, "token": INFLUXDB_TOKEN}
    config.write_text(TELEGRAF.format(**values))
    command: list[str | Path] = [program("telegraf"), "--config", config]
    return Server(command, port, place / "telegraf.log", lambda: subscribed(port), options={"start_new_session": True})


def subscribed(port: int) -> bool:
    """Whether a second client besides the last one is there; Telegraf has no door of its own to ask at."""
    connections = [c for p in psutil.process_iter(["name"]) if p.info["name"] == "telegraf"
                   for c in p.net_connections() if c.raddr and c.raddr.port == port]  # fmt: skip
    return bool(connections)


if __name__ == "__main__":
    main()
