from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import select

from storage.devices import Device
from storage.failures import Failure
from storage.stores import Stores
from tests.cli.test_backfill import energy


def recorded(stores: Stores) -> list[Failure]:
    stores.session.expire_all()
    return list(stores.session.exec(select(Failure).order_by(Failure.device_id, Failure.failed_at)))  # type: ignore[arg-type] # columns


def test_rows_are_recorded_once_and_bad_ones_are_named(stores: Stores, tmp_path: Path) -> None:
    stores.session.add(Device(device_id="D1", device_name="n", device_type="t"))
    stores.session.commit()
    file = tmp_path / "failures.csv"
    file.write_text(
        "device_id,failed_at,repaired_at,description\n"
        "D1,2026-02-12T10:00:00Z,2026-02-12T18:00:00Z,Bearing\n"
        "D1,soon,,\n"
        "D 1,2026-02-12T10:00:00Z,,\n"
        ",,,\n"
        "D2,2026-03-01T00:00:00+01:00,,\n"
        "D1,2026-02-20T10:00:00Z,2026-02-19T10:00:00Z,\n"
        "D1,2999-02-12T10:00:00Z,,\n"
    )
    code, out, err = energy("failures", "import", str(file))
    assert code == 1
    assert out == "7 rows: 2 stored, 0 recorded already, 4 refused, 1 skipped (empty); 2 devices\n"
    for words in (
        f"{file}:3: timestamp 'soon' cannot be read",
        "the device id 'D 1' is not valid",
        "repaired_at 2026-02-19T10:00:00Z is not after failed_at",
        "in the future",
        "not registered: D2",
    ):
        assert words in err, words
    one, two = recorded(stores)
    assert (one.device_id, one.failed_at, one.repaired_at, one.description, one.source) == (
        "D1", datetime(2026, 2, 12, 10, tzinfo=UTC), datetime(2026, 2, 12, 18, tzinfo=UTC), "Bearing", "import",
    )  # fmt: skip
    assert (two.device_id, two.failed_at) == ("D2", datetime(2026, 2, 28, 23, tzinfo=UTC))
    again = energy("failures", "import", str(file))[1]
    assert again.startswith("7 rows: 0 stored, 2 recorded already")
    assert len(recorded(stores)) == 2


def test_own_columns_a_format_and_a_zone(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("Zeit;Grund\n12.02.2026 10:00;Lager\n")
    code, out, _ = energy(
        "failures", "import", str(file), "--device", "D1", "--time", "Zeit", "--description", "Grund",
        "--time-format", "%d.%m.%Y %H:%M", "--timezone", "Europe/Berlin",
    )  # fmt: skip
    assert (code, out) == (0, "1 row: 1 stored, 0 recorded already, 0 refused, 0 skipped (empty); 1 device\n")
    (row,) = recorded(stores)
    assert (row.failed_at, row.description) == (datetime(2026, 2, 12, 9, tzinfo=UTC), "Lager")


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ("a,b\n1,2\n", (), "there is no column failed_at, device_id; the file has a, b"),
        ("", (), "is empty; its first line must name the columns"),
        ("device_id,failed_at\nD1,1\n", ("--timezone", "Mars"), "is not a time zone"),
        ("device_id,failed_at\nD1,1\n", ("--device", "D 1"), "is not a device id"),
        ("device_id,failed_at\nD1,1\n", ("--time-unit", "h"), "is not one of s, ms, us"),
        ("device_id,failed_at\nD1,1\n", ("--separator", "ab"), "--separator is one character, such as ';' or"),
    ],
)
def test_files_and_options_that_do_not_fit(
    stores: Stores, tmp_path: Path, content: str, options: tuple[str, ...], complaint: str
) -> None:
    file = tmp_path / "failures.csv"
    file.write_text(content)
    code, _, err = energy("failures", "import", str(file), *options)
    assert code == 2
    assert complaint in " ".join(err.replace("│", " ").split())
    assert recorded(stores) == []


def test_a_time_without_an_offset_needs_a_zone(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "failures.csv"
    file.write_text("device_id,failed_at\nD1,2026-02-12 10:00\n")
    code, _, err = energy("failures", "import", str(file))
    assert code == 1
    assert "has no offset; set --timezone" in err
