"""A device's past as analyses and reports read it: chosen by the catalogue, never by a wildcard."""

from datetime import date

import pyarrow as pa
from sqlmodel import Session

from assets.datasets import NoTelemetry, Workshop, read
from storage import catalogue
from storage.catalogue import Dataset


def chosen_datasets(
    session: Session, device_id: str, *, key: str | None = None, start: date | None = None, end: date | None = None
) -> list[Dataset]:
    """One dataset by its key, or the days' files of a range.

    Raises:
        NoTelemetry: there is none; the message says how to make it.

    """
    if key is not None:
        dataset = catalogue.current(session, key)
        if dataset is None or dataset.device_id != device_id:
            raise NoTelemetry(f"{device_id} has no dataset {key}; GET /api/v1/analytics/datasets lists what there is")
        return [dataset]
    days = catalogue.datasets_of(session, device_id, start=start, end=end, kind="day")
    if not days:
        period = f" from {start} to {end}" if start else ""
        raise NoTelemetry(f"{device_id} has no dataset{period}; ask for one with POST /api/v1/exports/run")
    return days


def history(workshop: Workshop, datasets: list[Dataset]) -> pa.Table:
    """The rows of the datasets, ascending in time; columns as in a dataset."""
    return read(workshop.objects, datasets)


def provenance(datasets: list[Dataset]) -> list[dict[str, object]]:
    """Which files a result was made from, so that it can be made again."""
    return [{"key": d.key, "sha256": d.sha256, "rows": d.rows} for d in datasets]
