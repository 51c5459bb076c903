"""The limits of one report: time and size."""

import time
from collections.abc import Callable

from assets.reports.errors import ReportError


class Budget:
    """The time left, counted from its creation. `progress` gets percent and a message; it may raise to end the work."""

    def __init__(self, timeout_seconds: float, max_bytes: int, progress: Callable[[float, str], None]) -> None:
        self._timeout = timeout_seconds
        self._ends = time.monotonic() + timeout_seconds
        self._max_bytes = max_bytes
        self._progress = progress

    def step(self, percent: float, message: str) -> None:
        """Report progress. Raises ReportError if the time is over."""
        self.seconds_left()
        self._progress(percent, message)

    def seconds_left(self) -> float:
        """The time left. Raises ReportError if there is none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise self.exceeded()
        return left

    def exceeded(self) -> ReportError:
        """The error for a report that takes too long."""
        return ReportError(
            f"The report was not ready after {self._timeout:g} s. Request a shorter period,"
            " or raise REPORT_TIMEOUT_SECONDS."
        )

    def check_size(self, size: int) -> None:
        """Raises ReportError if the file is too large. `size` in bytes."""
        if size > self._max_bytes:
            raise ReportError(
                f"The report is {size / 1e6:.3g} MB; the limit is {self._max_bytes / 1e6:g} MB."
                " Request a shorter period or another format, or raise MAX_REPORT_SIZE_MB."
            )
