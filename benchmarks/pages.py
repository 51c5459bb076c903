"""The web pages on a year of readings every second, one of readings every minute, and 10,000 machines.

The store has the readings of the last 30 days, as after retention; the days before are in files alone.

Each is asked for one at a time, `--times N` (20). The API is a process of its own, beside PostgreSQL. `--browser` also
opens pages in Chromium and prints the time until the first content is painted.
"""

import argparse
import os
import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import httpx

from benchmarks.datasets import database, spread, timed
from benchmarks.fleet import TODAY, YEAR, complete_year, fill_closed_days, fill_today
from benchmarks.floors import say
from benchmarks.rest import alone
from storage.times import midnight
from tests.support.servers import free_port

PART = {"Accept": "text/html", "HX-Request": "true"}
PAINTED = "performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint').startTime"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks pages")
    for name, default in (("days", 30), ("registered", 10_000), ("times", 20)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--browser", action="store_true")
    given, _ = options.parse_known_args()
    with database() as url, tempfile.TemporaryDirectory() as folder:
        fill_closed_days(url, given.days, 1, given.registered)
        complete_year("device-1")
        now = datetime.now(UTC)
        fill_today(url, 1, midnight(TODAY), now)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with (
            mock.patch.dict(os.environ, API_PORT=str(port), API_RATE_LIMIT="0"),
            alone(address, url, Path(folder), now),
            httpx.Client(base_url=address, headers=PART, timeout=60) as client,
        ):
            _ask(client, now, given)
            if given.browser:
                _paint(address)


def _ask(client: httpx.Client, now: datetime, given: argparse.Namespace) -> None:
    def get(path: str) -> Callable[[], object]:
        return lambda: client.get(path).raise_for_status()

    def measure(name: str, paths: list[str], bar_ms: int) -> None:
        took = sorted(timed(get(path)) for path in paths)
        p95 = took[int(len(took) * 0.95)]
        say(name, f"{spread(took)}, p95 {p95 * 1000:.0f} ms", f"p95 under {bar_ms} ms", met=p95 * 1000 < bar_ms)

    def chart(device: str, start: datetime, end: datetime) -> str:
        query = f"metric=power&width=1200&start_time={start:%Y-%m-%dT%H:%M:%SZ}&end_time={end:%Y-%m-%dT%H:%M:%SZ}"
        return f"/machines/{device}/telemetry-chart?{query}"

    chosen = random.Random(1)
    zooms = []
    for _ in range(given.times):
        length = timedelta(minutes=chosen.choice([10, 60, 360, 1440, 4320, 10_080]))
        start = now - YEAR + chosen.random() * (YEAR - length)
        zooms.append(chart("device-1", start, start + length))
    times = range(given.times)
    get("/machines")()
    get(zooms[0])()
    measure(f"machines, a page of {given.registered}", [f"/machines?page={i + 1}" for i in times], 300)
    measure("machines, searched", [f"/machines?search={i}" for i in times], 300)
    measure("machines, with their figures", [f"/machines-figures?search=device-&page={i + 1}" for i in times], 1000)
    measure("a machine", ["/machines/device-1" for _ in times], 1000)
    measure(
        f"chart of {given.days} days", [chart("device-1", now - timedelta(days=given.days), now)] * given.times, 1000
    )
    measure("chart of a year of minutes", [chart("year-of-power", now - YEAR, now)] * given.times, 1000)
    measure("chart of a year of seconds", [chart("device-1", now - YEAR, now)] * given.times, 1000)
    measure("zoom, from 10 minutes to a week", zooms, 300)


def _paint(address: str) -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only with --browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        for path in ("/", "/machines", "/machines/device-1", "/machines/device-1/telemetry?span=365d"):
            painted = []
            for _ in range(5):
                page.goto(address + path, wait_until="networkidle")
                painted.append(page.evaluate(PAINTED) / 1000)
            say(f"first content of {path}", spread(painted), "under 1 s", met=max(painted) < 1)
        browser.close()


if __name__ == "__main__":
    main()
