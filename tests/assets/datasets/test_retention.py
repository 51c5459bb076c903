from datetime import date, timedelta

from sqlmodel import col, select

from assets.datasets import export_day, retire_datasets, retire_telemetry
from assets.datasets.files import read
from storage.catalogue import Dataset
from storage.stores import Stores
from tests.support.plant import DAY, DAY_MINUTES, reading, store, telemetry_partitions


def test_telemetry_is_given_up_by_the_month_once_it_is_exported(stores: Stores) -> None:
    january, march = reading(-40 * DAY_MINUTES), reading(30 * DAY_MINUTES)
    store(stores, january, reading(0), march)
    for day in (DAY - timedelta(days=40), DAY + timedelta(days=30)):
        export_day(stores, "D1", day)
    assert retire_telemetry(stores, 10, date(2026, 4, 1)) == DAY  # which was not exported
    assert telemetry_partitions(stores) == ["2026_02", "2026_03"]
    export_day(stores, "D1", DAY)
    assert retire_telemetry(stores, 10, date(2026, 4, 1)) == date(2026, 3, 22)
    assert telemetry_partitions(stores) == ["2026_03"]
    # Late data of a month that is gone is taken, and joins what its file holds.
    store(stores, reading(1))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    assert read(stores.objects, [exported.dataset])["power"].to_pylist() == [100, 101]


def test_files_are_deleted_and_their_rows_stay(stores: Stores) -> None:
    store(stores, reading(0), reading(DAY_MINUTES))
    kept = [export_day(stores, "D1", DAY + timedelta(days=i)) for i in range(2)][1]
    assert kept is not None
    files, size = retire_datasets(stores, 10, DAY + timedelta(days=11))
    assert (files, size > 0) == (1, True)
    assert [o.key for o in stores.objects.list("datasets")] == [kept.dataset.key]
    rows = stores.session.exec(select(Dataset).order_by(col(Dataset.start_date))).all()
    assert [r.superseded_at is None for r in rows] == [False, True]
    assert retire_datasets(stores, 10, DAY + timedelta(days=11)) == (0, 0)
