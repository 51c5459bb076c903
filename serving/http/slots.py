"""Slots for heavy work, shared out fairly by name."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """Lets some of the work run and the rest wait. Use it in the event loop's thread only.

    `shared` slots are for whoever comes first. Beyond them, each name has one of its own, so nobody's first piece of
    work waits for another's, until `most` run altogether. Of the work that waits, that of the name with the fewest
    running comes next. What waits holds no thread.
    """

    def __init__(self, shared: int, most: int) -> None:
        self._shared = shared
        self._most = most
        self._running: Counter[str | None] = Counter()
        self._waiting: list[tuple[str | None, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, name: str | None) -> AsyncIterator[None]:
        """Wait for a slot, and hold it for the block."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((name, turn))
        self._start()
        try:
            await turn
            yield
        finally:
            if (name, turn) in self._waiting:
                self._waiting.remove((name, turn))
            else:
                self._running[name] -= 1
                self._running += Counter()  # forgets names with nothing running
                self._start()

    def _start(self) -> None:
        """Give slots to what may start now."""
        while ready := [entry for entry in self._waiting if self._may_start(entry[0])]:
            entry = min(ready, key=lambda entry: self._running[entry[0]])
            self._waiting.remove(entry)
            self._running[entry[0]] += 1
            if not entry[1].cancelled():
                entry[1].set_result(None)

    def _may_start(self, name: str | None) -> bool:
        total = self._running.total()
        return total < self._shared or (total < self._most and not self._running[name])
