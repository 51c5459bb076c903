"""Corrections for tests, stored as the API stores them."""

from datetime import date

from assets.datasets import TelemetryReader, energy_of, export_day
from assets.energy import EnergyFigures
from storage import corrections
from storage.corrections import Correction, CorrectionAction
from storage.stores import Stores
from storage.telemetry import Statistics
from storage.times import DAY, MINUTE, microseconds, midnight, moment, utc_now
from tests.support.plant import START


def correction(
    metric: str,
    action: CorrectionAction,
    since: float,
    until: float,
    value: float | None = None,
    *,
    unit: str | None = None,
    device_id: str = "D1",
) -> Correction:
    """A correction from so many minutes after the start of the plant's day until so many."""
    return Correction(
        device_id=device_id,
        metric=metric,
        starts_at=moment(START + round(since * MINUTE)),
        ends_at=moment(START + round(until * MINUTE)),
        action=action,
        value=value,
        unit=unit,
        reason="a test",
        created_by="me",
        created_at=utc_now(),
    )


def correct(stores: Stores, row: Correction) -> Correction:
    corrections.add(stores.session, row)
    stores.session.commit()
    return row


def undo(stores: Stores, row: Correction) -> None:
    corrections.undo(stores.session, row, by="me", reason=None)
    stores.session.commit()


def reader(stores: Stores) -> TelemetryReader:
    return TelemetryReader(stores.session, stores.telemetry, stores.objects)


def figures(stores: Stores, first: date, days: int = 1) -> tuple[EnergyFigures, Statistics]:
    """Energy and statistics of D1 over days, as the API answers them."""
    start = microseconds(midnight(first))
    end = start + days * DAY
    one = reader(stores)
    return energy_of(stores.session, one, "D1", start, end), one.statistics("D1", start, end)


def files(stores: Stores, *days: date) -> list[bytes]:
    """The files of D1's days, made again first where that is due."""
    for day in days:
        export_day(stores, "D1", day)
    return [stores.objects.get(f"datasets/D1/{day:%Y%m%d}_{day:%Y%m%d}.parquet") for day in days]
