"""The energy of a day in the catalogue: made with the day's file; and figures that are outdated, made again."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa

from assets.datasets.columns import HOURS, hourly_statistics
from assets.datasets.files import DatasetReplaced, dataset_key, raw_file, read
from assets.energy.basis import bases_of
from assets.energy.corrections import Corrections
from assets.energy.kept import day_json, steps_in
from assets.energy.meters import meters_of
from assets.energy.samples import samples_of
from assets.quality.cadence import steps_of
from storage import catalogue, corrections, day_figures
from storage.devices import DeviceMetadata, metadata_of
from storage.stores import Stores
from storage.times import DAY, microseconds, midnight

log = logging.getLogger(__name__)

BATCH = 100
ONE_DAY = timedelta(days=1)


def energy_json(
    raw: pa.Table, metadata: DeviceMetadata, before: dict[str, Any] | None, known: Corrections
) -> dict[str, Any]:
    """What the catalogue keeps of a day's energy, from its rows without corrections.

    Without a declared cadence the day before has a part in it.
    """
    bases = bases_of(metadata, meters_of(metadata), known)
    samples = {name: known.of_samples(name, samples_of(raw, "timestamp", name)) for name in bases}
    steps = {name: steps_in(before, name) for name in bases}
    times = raw["timestamp"].cast(pa.int64()).to_numpy()
    return day_json(samples, bases, steps, steps_of(times), known.name_of(int(times[0]) // DAY * DAY))


def refresh_energy(stores: Stores, progress: Callable[[int, int], None] = lambda _done, _total: None) -> int:
    """Make outdated figures of day files again, and commit them file by file; returns of how many days.

    `progress` gets the number of days done, and of all. A file that is just being replaced is left to
    its export, or to the next call.
    """
    total, done, after = day_figures.count_outdated(stores.session), 0, 0
    while batch := day_figures.outdated_files(stores.session, after=after, limit=BATCH):
        for dataset in batch:
            after = dataset.id or after
            metadata = metadata_of(stores.session, dataset.device_id)
            # Hours that are complete need no other columns than energy does.
            lacks_hours = day_figures.statistics_of_hours(dataset.hourly, 0, HOURS) is None
            columns = None if lacks_hours else ["timestamp", *bases_of(metadata, meters_of(metadata))]
            day = dataset.start_date - ONE_DAY
            before = catalogue.current(stores.session, dataset_key(dataset.device_id, day, day))
            try:
                table = read(stores.objects, [raw_file(dataset)], columns)
                rows = read(stores.objects, [dataset]) if lacks_hours and dataset.raw else table
            except DatasetReplaced as error:
                log.warning("the figures of %s are made again later: %s", dataset.key, error)
                continue
            start = microseconds(midnight(dataset.start_date))
            known = Corrections(corrections.active(stores.session, dataset.device_id))
            day_figures.replace_figures(
                stores.session,
                dataset,
                energy=energy_json(table, metadata, before.energy if before else None, known),
                hourly=hourly_statistics(rows, start, dataset.metrics) if lacks_hours else dataset.hourly,
            )
            done += 1
        stores.session.commit()
        progress(done, total)
    return done
