"""A failure as an analysis knows it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class RecordedFailure:
    """When a device failed, and when it ran again, if that is known."""

    failed_at: datetime
    repaired_at: datetime | None = None
