import pyarrow as pa
import pytest

from assets.datasets.column_cache import ColumnCache

ROWS = 1000


def test_each_column_of_a_file_is_read_once_until_it_gives_way() -> None:
    cache = ColumnCache(max_bytes=3 * 8 * ROWS)
    read: list[tuple[str, ...]] = []

    def ask(sha256: str, *names: str) -> None:
        def from_file(missing: list[str]) -> pa.Table:
            read.append((sha256, *missing))
            return pa.table({name: pa.array([float(len(f"{sha256} {name}"))] * ROWS) for name in missing})

        table = cache.columns(sha256, names, from_file)
        assert table.column_names == list(names)
        assert [table[name][0].as_py() for name in names] == [len(f"{sha256} {name}") for name in names]

    ask("one", "time", "power")
    ask("one", "power", "time")
    ask("one", "time", "power", "voltage")
    assert read == [("one", "time", "power"), ("one", "voltage")]
    ask("two", "time")  # the oldest, one's time, was asked for with the others; of equal age it came first
    ask("one", "power", "voltage")
    assert read[2:] == [("two", "time")]
    ask("one", "time")
    assert read[3:] == [("one", "time")]


def test_what_is_larger_than_all_of_it_is_not_kept_and_a_failed_read_leaves_nothing() -> None:
    cache = ColumnCache(max_bytes=100)
    large = pa.table({"power": pa.array([1.0] * ROWS)})
    reads = 0

    def from_file(_: list[str]) -> pa.Table:
        nonlocal reads
        reads += 1
        return large

    for _ in range(2):
        assert cache.columns("one", ["power"], from_file).equals(large)
    assert reads == 2

    def fails(_: list[str]) -> pa.Table:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        cache.columns("two", ["time"], fails)
    assert len(cache.columns("two", ["time"], lambda _: pa.table({"time": [1]}))) == 1
