"""Slots for heavy work: nobody's first piece waits for another's."""

import asyncio
from contextlib import suppress

from serving.http.slots import FairSlots


def test_slots_are_shared_out_by_name() -> None:
    async def scenario() -> list[str]:
        slots = FairSlots(shared=2, most=4)
        started: list[str] = []
        ends: dict[str, asyncio.Event] = {}

        async def work(name: str, label: str) -> None:
            ends[label] = asyncio.Event()
            async with slots.hold(name):
                started.append(label)
                await ends[label].wait()

        async def begun(name: str, label: str) -> asyncio.Task[None]:
            task = asyncio.create_task(work(name, label))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return task

        async def end(label: str) -> None:
            ends[label].set()
            for _ in range(4):
                await asyncio.sleep(0)

        tasks = [await begun("a", f"a{i}") for i in range(12)]
        assert started == ["a0", "a1"]
        tasks += [await begun("b", "b0"), await begun("b", "b1"), await begun("c", "c0"), await begun("d", "d0")]
        assert started[2:] == ["b0", "c0"]  # a slot each, at once, until there are four
        await end("a0")
        assert started[4:] == ["d0"]  # it has none running, though it came last
        for label in ("b0", "c0", "d0"):
            await end(label)
        assert started[5:] == ["b1"]  # a has a slot of its own, and the shared ones are taken
        tasks[5].cancel()  # one that waits
        for label in ("a1", "b1", "a2", "a3", "a4", *(f"a{i}" for i in range(6, 12))):
            await end(label)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not slots._running
        assert not slots._waiting
        return started

    started = asyncio.run(scenario())
    assert "a5" not in started
    assert len(started) == 15


def test_work_that_is_cancelled_or_fails_gives_its_slot_back() -> None:
    async def scenario() -> None:
        slots = FairSlots(shared=1, most=1)

        async def fail() -> None:
            async with slots.hold("a"):
                raise ValueError

        with suppress(ValueError):
            await fail()
        waiting = asyncio.create_task(slots.hold("b").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(1), slots.hold("c"):
            pass

    asyncio.run(scenario())
