"""A device's past as analyses and reports read it: chosen by the catalogue, never by a wildcard."""

from datetime import date

import pyarrow as pa
from sqlmodel import Session

from assets.datasets.export import NoTelemetry, load
from storage import catalogue
from storage.catalogue import Dataset
from storage.stores import Stores

MAX_TOLD = 3


class UnfitDatasets(Exception):
    """Datasets are there, but their quality checks found errors."""


def history(
    stores: Stores,
    device_id: str,
    *,
    key: str | None = None,
    start: date | None = None,
    end: date | None = None,
    with_errors: bool = False,
) -> tuple[list[Dataset], pa.Table]:
    """One dataset by its key, or the days' files of a range, with their rows ascending in time.

    Raises:
        NoTelemetry: there is none; the message says how to make it.
        UnfitDatasets: quality checks found errors in them, and `with_errors` does not say that they are wanted anyway.

    """

    def choose() -> list[Dataset]:
        chosen = chosen_datasets(stores.session, device_id, key=key, start=start, end=end)
        if not with_errors:
            refuse_errors(stores.session, chosen)
        return chosen

    return load(stores, choose)


def refuse_errors(session: Session, chosen: list[Dataset]) -> None:
    """Let datasets pass whose days have no errors.

    Raises:
        UnfitDatasets: the message names the days and what was found.

    """
    days = [
        day
        for dataset in chosen
        for day in (
            [dataset]
            if dataset.kind == "day"
            else catalogue.datasets_of(
                session, dataset.device_id, start=dataset.start_date, end=dataset.end_date, kind="day"
            )
        )
    ]
    found = [
        f"{day.start_date} {kind} ({check['detail']})"
        for day in days
        for kind, check in (day.checks or {}).items()
        if check["status"] == "error"
    ]
    if found:
        more = f" and {len(found) - MAX_TOLD} more" if len(found) > MAX_TOLD else ""
        raise UnfitDatasets(
            f"quality checks found errors: {'; '.join(found[:MAX_TOLD])}{more}. Mend the readings, change"
            ' QUALITY_THRESHOLDS, or use them anyway with "with_errors": true in the parameters'
        )


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


def provenance(datasets: list[Dataset]) -> list[dict[str, object]]:
    """Which files a result was made from, so that it can be made again."""
    return [{"key": d.key, "sha256": d.sha256, "rows": d.rows} for d in datasets]
