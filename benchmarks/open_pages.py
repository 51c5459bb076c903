"""Intake and alerts at 2,000 readings a second while 100 web pages are open, beside the same without any page.

Half of the pages are machines' with their live stream; the others are Home, Machines and Alerts. Each asks for its
parts as often as a browser does. The browsers' own work runs at low priority, since at a plant other computers do it;
the API's does not. Embedded profile, 1,000 devices, 100 rules. `--seconds N` of each (60), `--rounds N` of both in
turn (2), `--pages N` (100), `--rate N` (2000).
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection

import httpx
import numpy as np
import psycopg
from websockets.asyncio.client import connect

from benchmarks.alert_latency import Probing, add_probe, pouring, tell
from benchmarks.floors import say
from benchmarks.load import DEVICES, folder, populate
from tests.support.publisher import Fleet, Publisher, device_id
from tests.support.servers import free_port, wait_until
from tests.support.stack import Server, Stack

PART = {"Accept": "text/html", "HX-Request": "true"}
# What an open page asks for, and how many seconds later again, as the templates say it.
HOME = {
    "/home/alerts": 20, "/home/energy": 60, "/home/intake": 20, "/home/analyses": 60, "/home/machines": 20,
    "/home/changes?since=2026-01-01T00:00:00Z": 60,
}  # fmt: skip
KINDS = ({"/machines-figures": 30}, {"/alerts/counts": 15, "/alerts": 15}, HOME)
WARM_UP_SECONDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks open_pages")
    for name, default in (("seconds", 60), ("rounds", 2), ("pages", 100), ("rate", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given, _ = parser.parse_known_args()
    with folder() as place, Stack("embedded", place) as stack, ExitStack() as ends:
        rule = add_probe(stack.settings)
        populate(stack.settings)
        port = _start_api(stack)
        source, probe = (ends.enter_context(closing(Publisher(stack.servers["broker"].port))) for _ in range(2))
        connection = ends.enter_context(psycopg.connect(stack.settings.database_url, autocommit=True))
        probing = Probing(probe, connection, rule)
        wait_until(lambda: probing.once() < 1, "the ingester knows the probe's rule")
        found: dict[bool, tuple[list[float], list[float]]] = {False: ([], []), True: ([], [])}
        fleet = Fleet(DEVICES)
        with pouring(source, fleet, given.rate, 0):
            time.sleep(WARM_UP_SECONDS)  # the first alerts of the load's own rules
            for _ in range(given.rounds):
                for with_pages in (False, True):
                    rates, latencies = found[with_pages]
                    with ExitStack() as pages:
                        if with_pages:
                            pages.enter_context(_open_pages(port, given.pages))
                        before, began = stack.counts()["stored"], time.monotonic()
                        latencies += probing.run(given.seconds)
                        rates.append((stack.counts()["stored"] - before) / (time.monotonic() - began))
        _say(found, given)


def _say(found: dict[bool, tuple[list[float], list[float]]], given: argparse.Namespace) -> None:
    tell("without a page", found[False][1])
    tell(f"with {given.pages} open pages", found[True][1])
    alone, beside = (float(np.mean(found[with_pages][0])) for with_pages in (False, True))
    share = beside / alone
    say(
        "readings stored a second",
        f"{beside:,.0f} of {alone:,.0f}, share {share:.3f}",
        "at least 0.98",
        met=share >= 0.98,
    )
    before, after = (float(np.percentile(found[with_pages][1], 99)) * 1000 for with_pages in (False, True))
    ratio = after / before
    say("alerts' p99", f"{after:.0f} ms of {before:.0f}, {ratio:.2f} times", "at most 1.5 times", met=ratio <= 1.5)


def _start_api(stack: Stack) -> int:
    port = free_port()
    own = {"API_PORT": str(port), "API_RATE_LIMIT": "0", "INGEST_METRICS_PORT": str(stack.servers["ingester"].port)}
    stack.servers["api"] = Server(
        [sys.executable, "-m", "serving"],
        port,
        stack.folder / "api.log",
        lambda: httpx.get(f"http://127.0.0.1:{port}/health").is_success,
        {**stack.variables, **own},
        {"start_new_session": True},
    )
    stack.start("api")
    return port


@contextmanager
def _open_pages(port: int, pages: int) -> Iterator[None]:
    """Keep so many pages open for the block; says afterwards what they asked for."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_browse, args=(port, pages, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(120):
            raise TimeoutError("the pages are not open within two minutes")
        ours.recv()
        yield
        ours.send("end")
        asked, refused, frames = ours.recv()
    finally:
        process.kill()
        process.join()
    p95 = np.percentile(asked, 95) * 1000 if asked else 0
    print(f"  {pages} pages asked {len(asked):,} times, p95 {p95:.0f} ms, and got {frames:,} frames", flush=True)
    say("answers that were errors", f"{refused}", "none", met=not refused)


def _browse(port: int, pages: int, end: Connection) -> None:
    os.nice(10)
    asyncio.run(_Browsers(port, pages).run(end))


class _Browsers:
    def __init__(self, port: int, pages: int) -> None:
        self._port = port
        self._pages = pages
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=PART, timeout=60, limits=httpx.Limits(max_connections=None)
        )
        self.seconds: list[float] = []
        self.refused = 0
        self.frames = 0
        self._connected = 0

    async def run(self, end: Connection) -> None:
        """Open the pages, say so, and go on until the other end asks for what was counted."""
        chosen = random.Random(5)
        streams = [self._watch(device_id(i * 7 % DEVICES)) for i in range(0, self._pages, 2)]
        tasks = [asyncio.create_task(stream) for stream in streams]
        for i in range(self._pages):
            name = device_id(i * 7 % DEVICES)
            parts = KINDS[i // 2 % len(KINDS)] if i % 2 else {f"/machines/{name}": 60}
            if not i % 2:
                await self._ask(f"/machines/{name}/telemetry-chart?metric=power&width=1200")
            tasks += [asyncio.create_task(self._poll(*part, chosen.random())) for part in parts.items()]
        while self._connected < len(streams):
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.1)
        self.seconds.clear()
        end.send("open")
        await asyncio.to_thread(end.recv)
        end.send((self.seconds, self.refused, self.frames))

    async def _ask(self, path: str) -> None:
        began = time.perf_counter()
        answer = await self._client.get(path)
        self.seconds.append(time.perf_counter() - began)
        self.refused += not answer.is_success

    async def _poll(self, path: str, seconds: int, first: float) -> None:
        await asyncio.sleep(first * seconds)
        while True:
            began = time.monotonic()
            await self._ask(path)
            await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))

    async def _watch(self, name: str) -> None:
        async with connect(
            f"ws://127.0.0.1:{self._port}/ws/telemetry/{name}", open_timeout=60, compression=None
        ) as stream:
            self._connected += 1
            async for _ in stream:
                self.frames += 1


if __name__ == "__main__":
    main()
