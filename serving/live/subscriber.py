"""A WebSocket's queue of frames."""

import asyncio
from collections import deque

from serving.live.frames import dropped_frame
from storage.access import Principal

# A message from a device holds up to 1,000 readings, which may all come at once.
MAX_FRAMES = 1000


class Subscriber:
    """One WebSocket's bounded queue; if it is full, the oldest frame is dropped."""

    def __init__(self, device_id: str, principal: Principal) -> None:
        self.device_id = device_id
        self.principal = principal
        # Set while there is something to do: frames, an interruption, the end.
        self.woken = asyncio.Event()
        self.is_interrupted = False
        self.is_refused = False
        self.dropped = 0
        self._frames: deque[str] = deque()
        self._unreported = 0

    def may_see(self, tenant_id: str | None) -> bool:
        """Whether the principal may see devices of this tenant; one without a tenant sees all."""
        return self.principal.tenant_id is None or self.principal.tenant_id == tenant_id

    def put(self, frame: str) -> None:
        """Add a frame."""
        if len(self._frames) == MAX_FRAMES:
            self._frames.popleft()
            self._unreported += 1
            self.dropped += 1
        self._frames.append(frame)
        self.woken.set()

    def take(self, limit: int) -> list[str]:
        """Up to `limit` frames, oldest first; where frames were dropped, a frame before them says how many."""
        frames = [dropped_frame(self._unreported)] if self._unreported else []
        self._unreported = 0
        frames.extend(self._frames.popleft() for _ in range(min(limit, len(self._frames))))
        if not self._frames:
            self.woken.clear()
        return frames

    def interrupt(self) -> None:
        """Note that the stream has a gap of unknown size."""
        self.is_interrupted = True
        self.woken.set()

    def refuse(self) -> None:
        """Note that the principal would not be let in any more."""
        self.is_refused = True
        self.woken.set()
