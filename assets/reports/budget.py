"""What a report may cost: time and bytes."""

import time
from collections.abc import Callable

from assets.reports.content import ReportError


class Budget:
    """Counts down from its making; `progress` is told percent and words, and may raise to end the work."""

    def __init__(self, timeout_seconds: float, max_bytes: int, progress: Callable[[float, str], None]) -> None:
        self._timeout = timeout_seconds
        self._ends = time.monotonic() + timeout_seconds
        self._max_bytes = max_bytes
        self._progress = progress

    def step(self, percent: float, message: str) -> None:
        self.seconds_left()
        self._progress(percent, message)

    def seconds_left(self) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise self.exceeded()
        return left

    def exceeded(self) -> ReportError:
        return ReportError(
            f"the report was not ready after {self._timeout:g} s; ask for a shorter period,"
            " or raise REPORT_TIMEOUT_SECONDS"
        )

    def check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise ReportError(
                f"the report has {size / 1e6:.1f} MB, {self._max_bytes / 1e6:g} MB are allowed; ask for a shorter"
                " period or another format, or raise MAX_REPORT_SIZE_MB"
            )
