"""A device's datasets and their rows, as analyses and reports read them.

Datasets are selected in the catalogue, never by listing the object store.
"""

from datetime import date

import pyarrow as pa
from sqlmodel import Session

from assets.datasets.export import NoTelemetry
from assets.datasets.files import read, reread_if_replaced
from storage import catalogue
from storage.catalogue import Dataset
from storage.stores import Stores

MAX_NAMED_ERRORS = 3


class UnfitDatasets(Exception):
    """Quality checks found errors in the datasets; the message names them."""


@reread_if_replaced
def read_history(
    stores: Stores,
    device_id: str,
    *,
    key: str | None = None,
    start: date | None = None,
    end: date | None = None,
    with_errors: bool = False,
) -> tuple[list[Dataset], pa.Table]:
    """One dataset by its key, or the day files of a range, with their rows ascending in time.

    Raises:
        NoTelemetry: there is no such dataset; the message says how to make one.
        UnfitDatasets: quality checks found errors, and `with_errors` is False.

    """
    datasets = select_datasets(stores.session, device_id, key=key, start=start, end=end)
    if not with_errors:
        _refuse_errors(stores.session, datasets)
    return datasets, read(stores.objects, datasets)


@reread_if_replaced
def read_days(stores: Stores, device_id: str, start: date, end: date) -> tuple[list[Dataset], pa.Table]:
    """The day files of a range, both ends inclusive, with their rows ascending in time. Both may be empty."""
    datasets = catalogue.datasets_of(stores.session, device_id, start=start, end=end, kind="day")
    return datasets, read(stores.objects, datasets)


def select_datasets(
    session: Session, device_id: str, *, key: str | None = None, start: date | None = None, end: date | None = None
) -> list[Dataset]:
    """One dataset by its key, or the day files of a range.

    Raises:
        NoTelemetry: there is no such dataset; the message says how to make one.

    """
    if key is not None:
        dataset = catalogue.current(session, key)
        if dataset is None or dataset.device_id != device_id:
            raise NoTelemetry(
                f"{device_id} has no dataset {key}. GET /api/v1/analytics/datasets lists the datasets of a device."
            )
        return [dataset]
    days = catalogue.datasets_of(session, device_id, start=start, end=end, kind="day")
    if not days:
        period = f" from {start} to {end}" if start else ""
        raise NoTelemetry(f"{device_id} has no dataset{period}. POST /api/v1/exports/run makes one.")
    return days


def provenance(datasets: list[Dataset]) -> list[dict[str, object]]:
    """The files that a result was made from, so that it can be reproduced."""
    return [{"key": d.key, "sha256": d.sha256, "rows": d.rows} for d in datasets]


def _refuse_errors(session: Session, datasets: list[Dataset]) -> None:
    """Raise `UnfitDatasets` if quality checks found errors in any day of the datasets."""
    errors = [
        f"{day.start_date} {kind} ({check['detail']})"
        for dataset in datasets
        for day in _days_of(session, dataset)
        for kind, check in (day.checks or {}).items()
        if check["status"] == "error"
    ]
    if errors:
        more = f" and {len(errors) - MAX_NAMED_ERRORS} more" if len(errors) > MAX_NAMED_ERRORS else ""
        raise UnfitDatasets(
            f"Quality checks found errors: {'; '.join(errors[:MAX_NAMED_ERRORS])}{more}. Correct the readings, change"
            ' QUALITY_THRESHOLDS, or set "with_errors": true in the parameters to use the days anyway.'
        )


def _days_of(session: Session, dataset: Dataset) -> list[Dataset]:
    """The day files that a file was made from; a day's file itself."""
    if dataset.kind == "day":
        return [dataset]
    return catalogue.datasets_of(session, dataset.device_id, start=dataset.start_date, end=dataset.end_date, kind="day")
