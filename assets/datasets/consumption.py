"""What a device used over a range: energy, the highest demand, and what each of its counters counted.

Of days with a file the catalogue has the pieces; of what came since, of other days and of parts of days they are worked
out from readings.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from assets.datasets.read_plan import Segment
from assets.datasets.reader import TelemetryReader
from assets.energy.curve import WH_PER_UNIT, gap_rule
from assets.energy.quarters import POWER, Piece, joined, piece_of, piece_of_day, piece_of_part
from storage.arrays import Floats, Times
from storage.catalogue import Dataset
from storage.devices import Counter
from storage.times import DAY, QUARTER


@dataclass(frozen=True)
class EnergyFigures:
    """Energy in kWh with its source (`integral:power` or `counter:<name>`), and by the same source the highest demand.

    The demand is the mean power (W) of the clock quarter hour with the most energy, whose start is in µs. What was not
    measured is None. `consumption` has what each counter counted, with its unit.
    """

    kwh: float | None
    source: str | None
    peak_demand: float | None
    peak_demand_at: int | None
    consumption: Mapping[str, tuple[float, str]]


def energy_figures(
    reader: TelemetryReader, device_id: str, start: int, end: int, counters: Mapping[str, Counter]
) -> EnergyFigures:
    """Of a device with these counters over the half-open range in microseconds."""
    segments = reader.plan(device_id, start, end, by_day=True)
    counted = {name: _amounts(reader, device_id, segments, name, counter) for name, counter in counters.items()}
    consumption = {
        name: (float(amounts.sum()), counters[name].unit) for name, (_, amounts, _) in counted.items() if len(amounts)
    }
    source = next((name for name in sorted(consumption) if counters[name].unit in WH_PER_UNIT), None)
    if source is None:
        starts, kwh, gap = _amounts(reader, device_id, segments, "power", None)
    else:
        starts, amounts, gap = counted[source]
        kwh = amounts * (WH_PER_UNIT[counters[source].unit] / 1000)
    if not len(kwh):
        return EnergyFigures(None, None, None, None, consumption)
    highest = int(kwh.argmax())
    # Readings further apart than a quarter hour say nothing of one.
    is_fine = gap <= 5 * QUARTER
    return EnergyFigures(
        kwh=float(kwh.sum()),
        source=f"counter:{source}" if source else POWER,
        peak_demand=float(kwh[highest]) * 4000 if is_fine else None,
        peak_demand_at=int(starts[highest]) if is_fine else None,
        consumption=consumption,
    )


def _amounts(
    reader: TelemetryReader, device_id: str, segments: Sequence[Segment], metric: str, counter: Counter | None
) -> tuple[Times, Floats, int]:
    """Starts and amounts of the measured quarter hours, and the longest `gap` of a piece."""
    pieces = [p for s in segments for p in _pieces(reader, device_id, s, metric, counter) if p is not None]
    return *joined(pieces, counter), max((piece.gap for piece in pieces), default=0)


def _pieces(
    reader: TelemetryReader, device_id: str, segment: Segment, metric: str, counter: Counter | None
) -> Iterator[Piece | None]:
    """Readings are gone through as far as the catalogue says nothing of them, by the same rule for gaps."""
    file = segment.catalogued or (segment.file if segment.is_in_file else None)
    day = _of_catalogue(file, segment.start, metric, counter)
    if day is not None and segment.is_of_file:
        yield day
        return
    rows = reader.rows(device_id, segment, [metric])
    times, values = rows["time"].cast(pa.int64()).to_numpy(), rows[metric].to_numpy()
    gap = gap_rule(times)
    if day is None or not len(times) or gap != day.gap:
        yield piece_of(times, values, counter, gap)
    elif segment.store_from is None:
        yield piece_of_part(times, values, counter, day)
    else:
        since = times.searchsorted(segment.store_from)
        yield day
        yield piece_of(times[since:], values[since:], counter, gap)


def _of_catalogue(file: Dataset | None, at: int, metric: str, counter: Counter | None) -> Piece | None:
    """What the catalogue knows of the file of the day around a moment, if its energy has this source."""
    energy = file.energy if file else None
    source = POWER if counter is None else f"counter:{metric}"
    return piece_of_day(energy, at // DAY * DAY, counter) if energy and energy["source"] == source else None
