"""A thousand WebSockets on one API process at 500 readings a second, and what clients that do not read do to them.

Embedded profile: 100 devices, ten clients each, in two processes. Every reading has a number of its own, so that each
client knows what it missed. Then 100 clients of one busy device read nothing for a while: the API's memory has to stay
bounded, the others have to miss nothing, and what was dropped has to be reported. `--seconds N` for each part (20).
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Any, Self

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.floors import say
from benchmarks.load import folder
from tests.support.publisher import Publisher, message
from tests.support.servers import free_port
from tests.support.stack import Server, Stack

DEVICES, CLIENTS, RATE = 100, 1_000, 500
SILENT, BUSY = 100, "L-busy"
# Frames of two kilobytes: a queue of small ones would not show. The kernel takes some hundred of them.
PADDING = {f"padding_{i:02}_{'x' * 45}": 1.0 for i in range(25)}


Work = Callable[[int, int, int, Connection], Coroutine[Any, Any, None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    asked, _ = parser.parse_known_args()
    with folder() as place, Stack("embedded", place) as stack:
        port = free_port()
        own = {
            "API_PORT": str(port),
            "API_RATE_LIMIT": "0",
            "MQTT_BROKER_PORT": str(stack.servers["broker"].port),
            # All clients come from one address, which then has no limit of connections that begin at once.
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        stack.servers["api"] = Server(
            [sys.executable, "-m", "serving"],
            port,
            place / "api.log",
            lambda: httpx.get(f"http://127.0.0.1:{port}/health").is_success,
            {**stack.variables, **own},
            {"start_new_session": True},
        )
        stack.start("api")
        api = psutil.Process(stack.processes["api"].pid)
        with closing(Publisher(stack.servers["broker"].port)) as source:
            load = Load(source)
            load.warm_up(1)
            say_memory("API at rest", api)
            readers(load, port, api, asked.seconds)
            silent(load, port, api, asked.seconds)


class Load:
    """Numbered readings, the same number for every device of a round."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._sent = 0
        self.rounds = 0

    def send(self, device_id: str, **metrics: float) -> None:
        body = {"timestamp": (1_770_000_000 + self._sent) * 1000, **metrics}
        self._sent += 1
        packet = message(f"devices/{device_id}/telemetry", json.dumps(body).encode(), self._sent)
        self._publisher.publish([self._sent], packet)

    def warm_up(self, rounds: int) -> None:
        """Readings without a number: clients see by them that their stream has begun."""
        for _ in range(rounds):
            for device_id in (*map(_device, range(DEVICES)), BUSY):
                self.send(device_id, power=1.0)

    def run(self, seconds: float, busy_rate: int = 0) -> None:
        """RATE readings a second in all, spread over the devices; beside them some of the busy one."""
        began, ticks = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            self.rounds += 1
            for i in range(DEVICES):
                self.send(_device(i), n=float(self.rounds))
            for _ in range(busy_rate * DEVICES // RATE):
                self.send(BUSY, n=float(self.rounds), **PADDING)
            ticks += 1
            time.sleep(max(0.0, began + ticks * DEVICES / RATE - time.monotonic()))


def readers(load: Load, port: int, api: psutil.Process, seconds: float) -> None:
    with _clients(port) as group:
        while not all(group.ask("started")):
            load.warm_up(1)
            time.sleep(0.5)
        first = load.rounds + 1
        load.run(seconds)
        missed = _missed(group, first, load.rounds)
        say_memory(f"API with {CLIENTS:,} clients", api)
    wanted = (load.rounds - first + 1) * CLIENTS
    say("readings missed by clients that read", f"{missed:,} of {wanted:,}", "none", met=missed == 0)


def silent(load: Load, port: int, api: psutil.Process, seconds: float) -> None:
    with _clients(port) as group, _Group([(SILENT, _silent, port)]) as deaf:
        while not (all(group.ask("started")) and all(deaf.ask("started"))):
            load.warm_up(1)
            time.sleep(0.5)
        before, first = api.memory_info().rss, load.rounds + 1
        load.run(seconds, busy_rate=100)
        after = api.memory_info().rss
        missed = _missed(group, first, load.rounds)
        (reported,) = deaf.ask("reported")
    grown = (after - before) / 1e6
    say("API's growth with 100 clients that do not read", f"{grown:.0f} MB", "at most 100 MB", met=grown < 100)
    say("readings missed by those that read", f"{missed:,}", "none", met=missed == 0)
    say(
        "clients that were informed of what was dropped, or were turned away",
        f"{reported} of {SILENT}",
        "all",
        met=reported == SILENT,
    )


def say_memory(what: str, process: psutil.Process) -> None:
    print(f"  {what}: {process.memory_info().rss / 1e6:.0f} MB resident", flush=True)


def _missed(group: "_Group", first: int, last: int) -> int:
    """How many readings the clients have not seen, once no more come."""
    want = last - first + 1
    for _ in range(40):
        seen = [count for part in group.ask(f"seen {first}") for count in part]
        if all(count >= want for count in seen):
            break
        time.sleep(0.25)
    return sum(max(0, want - count) for count in seen)


class _Group:
    """Processes full of clients, asked over pipes."""

    def __init__(self, parts: list[tuple[int, Work, int]]) -> None:
        context = multiprocessing.get_context("spawn")
        self._ends: list[Connection] = []
        self._processes = []
        for i, (count, work, port) in enumerate(parts):
            ours, theirs = context.Pipe()
            process = context.Process(target=_process, args=(work, i, count, port, theirs), daemon=True)
            process.start()
            self._ends.append(ours)
            self._processes.append(process)

    def ask(self, question: str) -> list[Any]:
        for end in self._ends:
            end.send(question)
        return [end.recv() for end in self._ends]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def _clients(port: int) -> _Group:
    return _Group([(CLIENTS // 2, _reading, port)] * 2)


def _process(work: Work, index: int, count: int, port: int, end: Connection) -> None:
    asyncio.run(work(index, count, port, end))


async def _reading(index: int, count: int, port: int, end: Connection) -> None:
    seen: list[list[int]] = [[] for _ in range(count)]
    started = [False] * count

    async def read(i: int) -> None:
        url = f"ws://127.0.0.1:{port}/ws/telemetry/{_device((index * count + i) % DEVICES)}"
        async with await _connected(url) as client:
            async for frame in client:
                data = json.loads(frame).get("data", {})
                started[i] = True
                if "n" in data:
                    seen[i].append(int(data["n"]))

    tasks = [asyncio.create_task(read(i)) for i in range(count)]
    while True:
        question = await asyncio.to_thread(end.recv)
        if question == "started":
            for task in tasks:
                if task.done():  # none ends by itself: say why
                    task.result()
                    raise ConnectionError("a stream has ended")
            end.send(all(started))
        else:
            first = int(question.split()[1])
            end.send([len({n for n in numbers if n >= first}) for numbers in seen])


async def _silent(_: int, count: int, port: int, end: Connection) -> None:
    """Clients that take one frame and then nothing more until they are asked what they were informed of."""
    url = f"ws://127.0.0.1:{port}/ws/telemetry/{BUSY}"
    clients = [await _connected(url, max_queue=1, sock=await _narrow(port)) for _ in range(count)]
    firsts = asyncio.gather(*(client.recv() for client in clients))
    while True:
        question = await asyncio.to_thread(end.recv)
        if question == "started":
            end.send(firsts.done())
        else:
            end.send(sum(await asyncio.gather(*map(_was_informed, clients))))


async def _narrow(port: int) -> socket.socket:
    """A connection whose own end takes next to nothing."""
    end = socket.socket()
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    end.settimeout(0)
    await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
    return end


async def _was_informed(client: ClientConnection) -> bool:
    try:
        async with asyncio.timeout(60):
            async for frame in client:
                if '"dropped"' in frame[:20]:
                    return True
    except TimeoutError:
        return False
    return client.close_code is not None


async def _connected(url: str, **options: Any) -> ClientConnection:
    return await connect(url, ping_interval=None, open_timeout=60, compression=None, **options)


def _device(number: int) -> str:
    return f"L-{number:03d}"


if __name__ == "__main__":
    main()
