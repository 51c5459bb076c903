"""How figures are printed."""

from collections.abc import Sequence
from statistics import median


def say(what: str, value: str, floor: str, *, met: bool) -> None:
    """A figure beside its floor, and whether it is met."""
    print(f"  {what}: {value} ({floor}: {'met' if met else 'NOT MET'})", flush=True)


def spread(values: Sequence[float], unit: str) -> str:
    return f"{median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g})"
