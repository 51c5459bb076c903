"""What a device used over a range: energy taken and fed in, demand, load factor, and what each counter counted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from assets.energy.basis import bases_of
from assets.energy.cells import MILLIONTHS, Cells, Lump, joined
from assets.energy.corrections import NONE, Corrections
from assets.energy.findings import Finding, summarised
from assets.energy.meters import POWER, Meter, energy_meters, meters_of, several_totals, unit_problem
from assets.energy.period import Amounts, DaySource, DevicePeriods
from storage.arrays import Floats, Mask, Times
from storage.devices import DeviceMetadata
from storage.times import HOUR, QUARTER

# A quarter hour that is covered so far stands for a demand.
WELL_COVERED = 0.9
# Feeding in more than this share of what it takes, a device has no load factor.
FEEDS_IN = 0.01


@dataclass(frozen=True)
class Peak:
    """The mean power (W) of a clock quarter hour, and when that began (µs)."""

    watts: float
    at: int


@dataclass(frozen=True)
class EnergyFigures:
    """Energy of a device over the half-open range (µs).

    `cells` hold the headline's quarter hours in mWh: `amounts` taken, `out` fed in. `sources` and `export_sources` name
    what they come from: `integral:power` or `counter:<name>`. `lumps` were counted over gaps, and are in the totals
    alone. `consumption` has what each counter counted, with the unit that its metadata name. `known_until` is the
    range's end, or now before it. `outdated_days` is of how many days the catalogue's figures wait to be made again;
    their energy is worked out from readings.
    """

    start: int
    end: int
    known_until: int
    sources: tuple[str, ...]
    export_sources: tuple[str, ...]
    cells: Cells
    lumps: tuple[Lump, ...]
    export_lumps: tuple[Lump, ...]
    is_export_known: bool
    findings: tuple[Finding, ...]
    consumption: Mapping[str, tuple[float, str]]
    outdated_days: int = 0

    def part(self, start: int, end: int) -> "EnergyFigures":
        """The same of a part of the range, whose edges are quarter hours or the range's own; without counters."""
        # The range may begin within a quarter hour; its first cell goes by the start of that quarter hour.
        since = start // QUARTER * QUARTER if start == self.start else start
        return replace(
            self,
            start=start,
            end=end,
            known_until=max(min(end, self.known_until), start),
            cells=self.cells.within(since, end),
            lumps=tuple(lump for lump in self.lumps if start < lump[1] <= end),
            export_lumps=tuple(lump for lump in self.export_lumps if start < lump[1] <= end),
            findings=tuple(finding for finding in self.findings if start <= finding.at < end),
            consumption={},
        )

    @cached_property
    def kwh(self) -> float | None:
        """Energy taken; None where nothing measures it, or nothing is known of the range."""
        if not self.sources or not (len(self.cells.starts) or self.lumps):
            return None
        return (int(self.cells.amounts.sum()) + sum(amount for _, _, amount in self.lumps)) / MILLIONTHS

    @cached_property
    def export_kwh(self) -> float | None:
        """Energy fed in; None where nothing measures it, or nothing is known of the range."""
        if not self.is_export_known or not (len(self.cells.starts) or self.export_lumps):
            return None
        return (int(self.cells.out.sum()) + sum(amount for _, _, amount in self.export_lumps)) / MILLIONTHS

    @property
    def source(self) -> str | None:
        """The sources of the energy taken, in one text."""
        return " + ".join(self.sources) or None

    @property
    def export_source(self) -> str | None:
        """The sources of the energy fed in, in one text."""
        return " + ".join(self.export_sources) or None

    @cached_property
    def covered(self) -> int:
        """Time (µs) of which it is known when the energy was used."""
        return int(self.cells.covered.sum())

    @property
    def coverage(self) -> float:
        """The covered share of the range as far as it has passed, 0 to 1."""
        length = self.known_until - self.start
        return min(self.covered / length, 1.0) if length > 0 else 0.0

    @cached_property
    def mean_power(self) -> float | None:
        """Mean power (W) over the covered time; what is fed in counts as negative."""
        if not self.covered:
            return None
        net = int(self.cells.amounts.sum() - self.cells.out.sum())
        return net / 1000 / (self.covered / HOUR)

    @cached_property
    def peak_demand(self) -> Peak | None:
        """The clock quarter hour in which most was taken; None if nothing measures that, or none well enough."""
        if not self.sources:
            return None
        return self._peak(self._watts(self.cells.amounts))

    @cached_property
    def peak_feed_in(self) -> Peak | None:
        """The clock quarter hour in which most was fed in; None where nothing was."""
        peak = self._peak(self._watts(self.cells.out))
        return peak if peak is not None and peak.watts > 0 else None

    @cached_property
    def is_feed_in(self) -> bool:
        """Whether the device mostly feeds in: more than it takes."""
        return int(self.cells.out.sum()) > int(self.cells.amounts.sum())

    @cached_property
    def load_factor(self) -> float | None:
        """Mean demand by highest demand over the same quarter hours, 0 to 1; None for a device that feeds in."""
        well, taken, fed = self._well, int(self.cells.amounts.sum()), int(self.cells.out.sum())
        if not well.any() or self.peak_demand is None or fed > FEEDS_IN * taken:
            return None
        if self.peak_demand.watts <= 0 or (self.cells.amounts < 0).any():
            return None
        mean = int(self.cells.amounts[well].sum()) / 1000 / (int(self.cells.covered[well].sum()) / HOUR)
        return min(mean / self.peak_demand.watts, 1.0)

    @cached_property
    def demands(self) -> tuple[Times, Floats]:
        """The clock quarter hours (µs) that are covered well enough to stand for a demand, and the demand (W) of each.

        They ascend. One that is divided, at an edge of the range, has one demand: the higher one.
        """
        well = self._well
        quarters, first = np.unique(self.cells.starts[well] // QUARTER * QUARTER, return_index=True)
        return quarters, np.maximum.reduceat(self._watts(self.cells.amounts)[well], first) if len(first) else np.zeros(
            0
        )

    def hours_above(self, watts: float) -> float:
        """Covered hours of the quarter hours in which more was taken than that mean power (W)."""
        covered = self.cells.covered / HOUR
        above = self.cells.amounts / 1000 > watts * covered
        return float(covered[above].sum())

    @cached_property
    def _well(self) -> Mask:
        return np.asarray(self.cells.covered >= WELL_COVERED * QUARTER)

    def _watts(self, amounts: Times) -> Floats:
        return np.where(self._well, amounts / 1000 / (self.cells.covered / HOUR), -np.inf)

    def _peak(self, watts: Floats) -> Peak | None:
        if not self._well.any():
            return None
        highest = int(watts.argmax())
        return Peak(float(watts[highest]), int(self.cells.starts[highest]) // QUARTER * QUARTER)


def energy_figures(
    source: DaySource,
    metadata: DeviceMetadata,
    start: int,
    end: int,
    now: int,
    *,
    corrections: Corrections = NONE,
    divided: Sequence[int] = (),
) -> EnergyFigures:
    """The figures of the device with this metadata over the half-open range; times in µs.

    Quarter hours of counters are `divided` at these moments.
    """
    meters = meters_of(metadata)
    periods = DevicePeriods(source, bases_of(metadata, meters, corrections), now)
    counted = {name: periods.register(name, start, end, divided) for name in meters}
    present = [name for name, amounts in counted.items() if amounts.is_there]
    chosen = energy_meters(meters, metadata, present)
    power = periods.power(start, end) if not chosen["import"] else None
    taken = [counted[name] for name in chosen["import"]] or ([power] if power and power.is_there else [])
    fed = [counted[name] for name in chosen["export"]]
    sources = tuple(f"counter:{name}" for name in chosen["import"]) or ((POWER,) if taken else ())
    export_sources = tuple(f"counter:{name}" for name in chosen["export"])
    is_power = sources == (POWER,)
    if is_power and not fed and power is not None and (power.cells.out > 0).any():
        export_sources = (POWER,)
    findings = [f for name in present for f in counted[name].findings]
    findings += power.findings if power is not None and is_power else ()
    findings += [_of_unit(name, problem, start, end) for name in present if (problem := unit_problem(metadata, name))]
    counting = {*chosen["import"], *chosen["export"]}
    findings += [_of_roles(names, counting, start, end) for names in _doubtful(metadata, present)]
    return EnergyFigures(
        start=start,
        end=end,
        known_until=max(min(end, now), start),
        sources=sources,
        export_sources=export_sources,
        cells=_headline(taken, fed, divided),
        lumps=tuple(lump for amounts in taken for lump in amounts.lumps),
        export_lumps=tuple(lump for amounts in fed for lump in amounts.lumps),
        is_export_known=bool(export_sources) or (is_power and not fed),
        findings=summarised(findings),
        consumption={
            name: _consumed(counted[name], meters[name]) for name in present if counted[name].total is not None
        },
    )


def _of_unit(name: str, problem: str, start: int, end: int) -> Finding:
    return Finding(name, "unit", start, end, None, None, counted=False, detail=f"is not part of the energy: {problem}")


def _doubtful(metadata: DeviceMetadata, present: Sequence[str]) -> list[list[str]]:
    return [names for declared in (True, False) for names in several_totals(metadata, present, declared=declared)]


def _of_roles(names: Sequence[str], counting: Collection[str], start: int, end: int) -> Finding:
    counted = [name for name in names if name in counting]
    told = f"{counted[0]} counts" if len(counted) == 1 else "all of them are added"
    detail = f"{' and '.join(names)} are each a total by role or name; {told}. Declare the role of each under counters"
    return Finding(names[0], "role", start, end, None, None, counted=True, detail=detail)


def _consumed(amounts: Amounts, meter: Meter) -> tuple[float, str]:
    return (amounts.total or 0) / MILLIONTHS * meter.per_unit, meter.own_unit


def _headline(taken: Sequence[Amounts], fed: Sequence[Amounts], divided: Sequence[int]) -> Cells:
    """Quarter hours of what is taken, and beside it of what is fed in; covered where all of the sources are."""
    cells = _all_of([amounts.cells for amounts in taken], divided)
    if not fed:
        return cells
    out = _all_of([amounts.cells for amounts in fed], divided)
    nothing, none = np.zeros(len(out.starts), np.int64), np.zeros(len(cells.starts), np.int64)
    if not taken:
        return Cells(out.starts, nothing, out.amounts, out.covered)
    own = Cells(cells.starts, cells.amounts, none, cells.covered)
    return joined([own, Cells(out.starts, nothing, out.amounts, nothing)], divided)


def _all_of(parts: Sequence[Cells], divided: Sequence[int]) -> Cells:
    total = joined(parts, divided)
    if len(parts) < 2:
        return total
    covered = np.full(len(total.starts), QUARTER)
    for part in parts:
        of_part = np.zeros(len(total.starts), np.int64)
        of_part[total.starts.searchsorted(part.starts)] = part.covered
        covered = np.minimum(covered, of_part)
    return Cells(total.starts, total.amounts, total.out, covered)
