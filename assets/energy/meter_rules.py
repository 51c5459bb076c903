"""What is declared of a counter's register, by its metadata and by corrections."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MeterChange:
    """A declared change of the meter at a moment (µs): what the old one showed last, the new one first; if known."""

    at: int
    last_old: float | None = None
    first_new: float | None = None


@dataclass(frozen=True)
class Rules:
    """What is said of a counter: name, unit, size, whether it may fall, changes, and ranges (µs) that are confirmed."""

    metric: str
    unit: str
    rollover: float | None = None
    net: bool = False
    changes: tuple[MeterChange, ...] = ()
    accepted: tuple[tuple[int, int], ...] = ()

    def accepts(self, at: int) -> bool:
        """Whether somebody has confirmed the reading at that moment (µs)."""
        return any(start <= at < end for start, end in self.accepted)
