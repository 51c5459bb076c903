"""What somebody said of a period of a device: that it was a fault, or a false alarm."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Label:
    """A judged period, both ends included.

    `kind`, `model` and `exceeds` are those of the event that was judged: how many times as far from the usual score as
    the threshold it was. A fault that no event reported has nothing of that.
    """

    start: datetime
    end: datetime
    verdict: Literal["fault", "none"]
    kind: str | None = None
    model: str | None = None
    exceeds: float | None = None
