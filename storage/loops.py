"""Signs of life of the loops that live as long as their process.

A loop counts what it could not do and goes on with the next thing. Readiness knows a loop that has died, or that has
failed at everything for a while.
"""

import time

STALE_SECONDS = 60.0


class Loop:
    """One loop: it says each time whether it worked, or why it failed."""

    def __init__(self, name: str, stale_after: float = STALE_SECONDS) -> None:
        """`stale_after`: a loop that is alive works at least once in so many seconds."""
        self.name = name
        self.failures = 0
        self._stale_after = stale_after
        self._reason = "it has ended"
        self._worked_at: float | None = None

    def worked(self) -> None:
        """Note that the loop has begun, or has done something, if only to look for work."""
        self._worked_at = time.monotonic()
        self._reason = "it has ended"

    def failed(self, error: BaseException) -> None:
        """Count something that the loop could not do."""
        self.failures += 1
        self._reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__

    def skipped(self) -> None:
        """Count something that the loop cannot read and leaves out for good."""
        self.failures += 1

    @property
    def state(self) -> str:
        """`works`, or for how long it has not, and why. A loop that was never begun is not missed."""
        seconds = 0.0 if self._worked_at is None else time.monotonic() - self._worked_at
        return "works" if seconds <= self._stale_after else f"has not worked for {seconds:.0f} s: {self._reason}"
