"""The readings that figures hold though each may be wrong: single ones far above all others of their day."""

from dataclasses import replace

import numpy as np

from assets.energy import EnergyFigures, Finding
from assets.energy.cells import MILLIONTHS, Cells
from storage.arrays import Times
from storage.times import QUARTER

# An advice or a figure that rests on a doubtful reading is not sure if the reading is so much of the energy.
MIN_SHARE = 0.05


def doubtful_readings(energy: EnergyFigures) -> list[Finding]:
    """Those that are counted and that nobody has corrected, the one of the most energy first."""
    found = [finding for finding in energy.findings if finding.kind == "single_reading" and finding.counted]
    return sorted(found, key=lambda finding: -abs(finding.effect or 0.0))


def is_of_doubtful(energy: EnergyFigures, quarter: int) -> bool:
    """Whether a doubtful reading lies in the quarter hour that begins then (µs), or on its end."""
    return any(quarter <= finding.at <= quarter + QUARTER for finding in doubtful_readings(energy))


def is_much(energy: EnergyFigures) -> bool:
    """Whether doubtful readings stand for enough of the energy to change what is said of it."""
    doubtful = sum(abs(finding.effect or 0.0) for finding in doubtful_readings(energy))
    return doubtful > 0 and doubtful >= MIN_SHARE * ((energy.kwh or 0.0) + (energy.export_kwh or 0.0))


def without_doubtful(energy: EnergyFigures) -> EnergyFigures:
    """The same figures without doubtful readings, as if their neighbours followed each other.

    Where very many are summarised in one finding, only the first and the last are known.
    """
    found = [finding for finding in doubtful_readings(energy) if finding.alike == 1]
    if not found:
        return energy
    cells = replace(energy.cells, amounts=energy.cells.amounts.copy(), out=energy.cells.out.copy())
    for finding in found:
        amounts = cells.out if (finding.value or 0.0) < 0 else cells.amounts
        _take_out(cells, amounts, finding.at, max(round((finding.effect or 0.0) * MILLIONTHS), 0))
    return replace(energy, cells=cells, findings=tuple(finding for finding in energy.findings if finding not in found))


def _take_out(cells: Cells, amounts: Times, at: int, effect: int) -> None:
    """Take an amount out of the cells around a moment, and spread what is left of them over their covered time."""
    first, last = (int(cells.starts.searchsorted(moment, "right")) for moment in (at - QUARTER - 1, at))
    while amounts[first:last].sum() < effect and (first > 0 or last < len(amounts)):
        first, last = max(first - 1, 0), min(last + 1, len(amounts))
    covered, rest = cells.covered[first:last], max(int(amounts[first:last].sum()) - effect, 0)
    if covered.sum():
        shares = np.floor(rest * np.cumsum(covered) / covered.sum()).astype(np.int64)
        amounts[first:last] = np.diff(shares, prepend=0)
