from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.datasets import ranges
from assets.datasets.export import NoTelemetry, export_day
from assets.datasets.files import read
from assets.datasets.ranges import export_month, export_range
from storage.catalogue import Dataset
from storage.devices import Device
from storage.stores import Stores
from tests.support.plant import DAY, reading, store

FIRST, LAST = date(2026, 2, 11), date(2026, 2, 14)


def export_days(stores: Stores) -> list[Dataset]:
    days = [export_day(stores, "D1", date(2026, 2, day)) for day in (12, 13, 14)]
    return [exported.dataset for exported in days if exported]


def file(stores: Stores, dataset: Dataset) -> pq.ParquetFile:
    return pq.ParquetFile(pa.BufferReader(stores.objects.get(dataset.key)))


def test_a_range_is_one_file_and_an_empty_one_says_so(stores: Stores) -> None:
    store(stores, reading(0), reading(1440, voltage=230), reading(2 * 1440 + 5, extra=1.0))
    export_days(stores)
    dataset = export_range(stores, "D1", FIRST, LAST).dataset
    assert (dataset.key, dataset.kind, dataset.rows) == ("datasets/D1/20260211_20260214.parquet", "range", 3)
    assert dataset.metrics["power"] == {"count": 1, "min": 100, "max": 100, "sum": 100}
    assert file(stores, dataset).read()["extra"].to_pylist() == [None, None, 1.0]
    assert export_range(stores, "D1", DAY, DAY).dataset.kind == "day"
    with pytest.raises(NoTelemetry, match="D1 has no readings from 2026-03-01"):
        export_range(stores, "D1", date(2026, 3, 1), date(2026, 3, 2))
    assert export_day(stores, "D1", date(2026, 3, 1)) is None


def test_its_rows_are_the_days_in_groups_that_do_not_mind_midnight(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = '{"counters": {"kwh": {"unit": "kWh"}}}'
    stores.session.add(Device(device_id="D1", device_name="n", device_type="t", metadata_json=metadata))
    store(stores, *(reading(5 * m, power=m, **({"kwh": m} if m > 400 else {})) for m in range(3 * 288)))
    days = export_days(stores)
    monkeypatch.setattr(ranges, "ROW_GROUP", 250)
    exported = export_month(stores, "D1", 2026, 2)
    assert exported is not None
    month = file(stores, exported.dataset)
    groups = [month.metadata.row_group(i).num_rows for i in range(month.num_row_groups)]
    assert groups == [250, 250, 250, 114]
    table = month.read()
    assert table.to_pylist() == read(stores.objects, days).to_pylist()
    assert table.schema.field("kwh").metadata == {b"unit": b"kWh"}
    statistics = exported.dataset.metrics["kwh"]
    assert (statistics["count"], statistics["min"], statistics["max"]) == (863 - 400, 401, 863)
    again = export_month(stores, "D1", 2026, 2)
    assert again is not None
    assert (again.changed, again.dataset.sha256) == (False, exported.dataset.sha256)
