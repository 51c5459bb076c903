from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlmodel import select

from storage import dirty_days
from storage.alerts import Alert
from storage.devices import Device
from storage.quarantine import QuarantinedReading
from storage.stores import Stores
from storage.times import microseconds
from tests.cli.test_backfill import energy


def stored(stores: Stores, device_id: str, year: int = 2026) -> list[dict[str, object]]:
    bounds = [microseconds(datetime(y, 1, 1, tzinfo=UTC)) for y in (year, year + 1)]
    rows: list[dict[str, object]] = stores.telemetry.read(device_id, *bounds).to_pylist()
    return rows


def test_columns_units_and_a_zone(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text("Zeit,P_total,U,T\n2026-02-12 01:00:00,1.5,230,300\n2026-02-12 01:15:00,,231,\n")
    code, out, _ = energy(
        "import", str(file), "--device", "D1", "--time", "Zeit", "--timezone", "Europe/Paris",
        "--map", "power=P_total:kW", "--map", "voltage=U", "--map", "temperature=T:K",
    )  # fmt: skip
    assert (code, out) == (
        0,
        (
            "2 rows: 2 stored, 0 quarantined, 0 skipped (without a value); 1 device,"
            " 2026-02-12 00:00 to 2026-02-12 00:15 UTC\n"
        ),
    )  # fmt: skip
    one, other = stored(stores, "D1")
    assert one["time"] == datetime(2026, 2, 12, tzinfo=UTC)
    assert (one["power"], one["voltage"], one["temperature"]) == (1500, 230, pytest.approx(26.85))
    assert (other["power"], other["voltage"]) == (None, 231)
    assert [(t.device_id, str(t.day)) for t in dirty_days.waiting(stores.session)] == [("D1", "2026-02-12")]


def test_bad_rows_are_quarantined_and_the_rest_is_kept(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    rows = ["2026-02-12T10:00:00Z,D1,100", "2026-02-12T10:01:00Z,D1,n/a?", "2026-02-12T10:02:00Z,D1,99999999",
            "soon,D1,1", "2026-02-12T10:03:00Z,D 1,5", "2026-02-12T10:03:00Z,D2,5", "1770890700000,D2,6"]  # fmt: skip
    file.write_text("timestamp,machine,power\n" + "\n".join(rows) + "\n")
    code, out, _ = energy("import", str(file), "--device-column", "machine")
    assert code == 0
    assert out.startswith("7 rows: 3 stored, 4 quarantined, 0 skipped (without a value); 2 devices")
    reasons = [q.reason for q in stores.session.exec(select(QuarantinedReading).order_by(QuarantinedReading.id))]  # type: ignore[arg-type] # a column
    for words in (
        "power: 'n/a?' is not a number",
        "outside its plausible limits",
        "'soon' cannot be read",
        "'D 1' is not valid",
    ):
        assert any(words in reason for reason in reasons), words
    assert not stores.session.exec(select(Alert)).all()
    again = energy("import", str(file), "--device-column", "machine")[1]
    assert again.startswith("7 rows: 3 stored")
    assert len(stored(stores, "D2")) == 2


def test_parquet_and_the_hours_that_a_zone_repeats_and_skips(stores: Stores, tmp_path: Path) -> None:
    naive = [datetime(2025, 10, 26, h, m) for h in (2, 2) for m in (0, 30)] + [datetime(2026, 3, 29, 2, 30)]  # noqa: DTZ001 - as in the file
    file = tmp_path / "old.parquet"
    pq.write_table(pa.table({"timestamp": naive, "power": [1.0, 2.0, 3.0, 4.0, 5.0]}), file)
    code, out, _ = energy("import", str(file), "--device", "D1", "--timezone", "Europe/Paris")
    assert (code, out.split(";")[0]) == (0, "5 rows: 4 stored, 1 quarantined, 0 skipped (without a value)")
    assert [r["time"].isoformat()[11:16] for r in stored(stores, "D1", 2025)] == ["00:00", "00:30", "01:00", "01:30"]  # type: ignore[attr-defined] # a time
    (bad,) = stores.session.exec(select(QuarantinedReading)).all()
    assert "which Europe/Paris skips" in bad.reason


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ("timestamp,power\n2026-02-12 10:00:00,1\n", ("--device", "D1"), "has no offset; set --timezone"),
        (
            ",".join(["timestamp", *(f"m{i}" for i in range(500))]) + "\n1\n",
            ("--device", "D1"),
            "or temperature; the file has timestamp, m0, m1, m2, m3, m4, m5, m6, m7, m8 and 491 more. Map the others",
        ),
        ("when,power\n1,1\n", ("--device", "D1"), "there is no column timestamp; the file has when, power"),
        ("timestamp,P\n1,1\n", ("--device", "D1"), "--map power=P_total:kW"),
        ("timestamp,P\n1,1\n", ("--device", "D1", "--map", "power=P:kV"), "'kV' is not a unit of power"),
        ("timestamp,P\n1,1\n", ("--device", "D1", "--map", "power"), "is not a mapping"),
        ("timestamp,P,P\n1,1,2\n", ("--device", "D1", "--map", "power=P"), "two columns are named P"),
        ("timestamp,temp\xe9rature\n1,1\n", ("--device", "D1"), "not text in utf-8; set --encoding, such as cp1252"),
        ("timestamp,power\n", ("--device", "D1", "--encoding", "klingon"), "'klingon' is not an encoding"),
        ("t\0i\0m\0e\0,\0", ("--device", "D1"), "set --encoding, such as utf-16-le"),
        ("", ("--device", "D1"), "is empty; its first line must name the columns"),
        ("\n \n# nothing\n", ("--device", "D1"), "is empty; its first line must name the columns"),
        (None, ("--device", "D1"), "old.csv cannot be read: there is no such file"),
        (None, (), "old.csv cannot be read: there is no such file"),
        ("timestamp,power\n2026-02-12T10:00Z,1\n2026-02-12T10:01Z\n", ("--device", "D1"), "line 3 has 1 fields"),
        ('timestamp,power\n2026-02-12T10:00Z,1\n"2026-02-12,1\n', ("--device", "D1"), "is not CSV: unexpected end"),
        ("timestamp,power\n1770890400,1\n1770890460,2\n", ("--device", "D1"), "seconds? Set --time-unit s"),
        ("timestamp,power\n1770890400000000,1\n", ("--device", "D1"), "microseconds? Set --time-unit us"),
        ("timestamp,power\n12.02.2026 10:00,1\n", ("--device", "D1"), "set --time-format '%d.%m.%Y %H:%M'"),
        ("timestamp,power\n12.2.26,1\n", ("--device", "D1"), "set --time-format '%d.%m.%y'"),
        ("timestamp,power\n2/3/2026 1:05:00 pm,1\n", ("--device", "D1"), "'%d/%m/%Y %I:%M:%S %p' or '%m/%d/%Y"),
        (
            "timestamp;power\n2026-02-12T10:00Z;1,5\n",
            ("--device", "D1"),
            "'1,5' has a decimal comma; set --decimal ','",
        ),
        ('timestamp,power\n2026-02-12T10:00Z,"1.250,5"\n', ("--device", "D1"), "has a decimal comma"),
        ("timestamp,power\n2026-02-12T10:00Z,1\n", ("--device", "D1", "--time-format", "%d.%m."), "cannot be read as"),
        (
            ",result,table,_time,_value,_field\n,,0,2026-02-12T10:00Z,1,power\n,,0,2026-02-12T10:00Z,2,oil\n",
            ("--device", "D1", "--map", "power=_value"),
            "the file has the fields power and oil",
        ),
    ],
)
def test_files_that_cannot_be_read(
    stores: Stores, tmp_path: Path, content: str | None, options: tuple[str, ...], complaint: str
) -> None:
    file = tmp_path / "old.csv"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    code, _, err = energy("import", str(file), *options)
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err


def test_devices_that_are_not_registered_are_named(stores: Stores, tmp_path: Path) -> None:
    """A name mistyped is seen at once."""
    stores.session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
    stores.session.commit()
    file = tmp_path / "old.csv"
    file.write_text("timestamp,power,m\n2026-02-12T10:00:00Z,1,D1\n2026-02-12T10:00:00Z,1,D-1\n")
    code, _, err = energy("import", str(file), "--device-column", "m")
    assert code == 0
    assert "energy: not registered: D-1. " in err


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--device", "D1", "--device-column", "m"),
        ("--device", "D 1"),
        ("--device", "D1", "--decimal", ";"),
        ("--device", "D1", "--decimal", ",", "--thousands", ","),
        ("--device", "D1", "--separator", "ab"),
    ],
)
def test_options_that_cannot_be(stores: Stores, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert energy("import", str(tmp_path / "x.csv"), *options)[0] == 2
    assert energy("import", str(tmp_path / "x.csv"), "--device", "D1", "--timezone", "Mars/Base")[0] == 2


def test_nothing_stored_is_an_error_with_the_first_reason(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text("timestamp,power\n")
    code, out, err = energy("import", str(file), "--device", "D1")
    assert (code, out.split(",")[0]) == (1, "0 rows: 0 stored")
    assert "nothing was stored" in err
    file.write_text("timestamp,power\n2026-02-12T10:00:00Z,x\n2026-02-12T10:01:00Z,y\n\n,\n2026-02-12T10:02:00Z,\n")
    code, out, err = energy("import", str(file), "--device", "D1")
    assert (code, out.split(";")[0]) == (1, "5 rows: 0 stored, 2 quarantined, 3 skipped (without a value)")
    assert "the first quarantined row: power: 'x' is not a number" in err


def test_a_wide_file_is_not_bound_by_the_size_of_a_message(stores: Stores, tmp_path: Path) -> None:
    """A thousand rows of thirty metrics are more than 256 kB."""
    names = [f"channel_{i}" for i in range(30)]
    lines = [f"{1_770_890_400_000 + i * 1000},{','.join(['123456.789'] * 30)}" for i in range(1500)]
    file = tmp_path / "old.csv"
    file.write_text("\n".join([f"timestamp,{','.join(names)}", *lines]))
    options = [part for name in names for part in ("--map", f"{name}={name}")]
    code, out, _ = energy("import", str(file), "--device", "D1", *options)
    assert (code, out.split(",")[0]) == (0, "1500 rows: 1500 stored")
    assert len(stored(stores, "D1")) == 1500


def test_fields_of_influxdb_are_metrics_and_its_texts_are_not(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    rows = ["2026-02-12T10:00:00Z,230.1,voltage", "2026-02-12T10:00:00Z,7,oil", "2026-02-12T10:00:00Z,on,state",
            "2026-02-12T10:01:00Z,broken,voltage"]  # fmt: skip
    file.write_text("#datatype,string,long,dateTime:RFC3339,double,string\n#default,_result,,,,\n"
                    ",result,table,_time,_value,_field\n" + "".join(f",,0,{row}\n" for row in rows))  # fmt: skip
    code, out, err = energy("import", str(file), "--device", "D1")
    assert (code, out.split(";")[0]) == (0, "4 rows: 2 stored, 1 quarantined, 1 skipped (without a value)")
    assert "1 values were dropped" in err
    (one,) = stored(stores, "D1")
    assert (one["voltage"], one["oil"]) == (230.1, 7)
    renamed = energy("import", str(file), "--device", "D2", "--map", "power=oil:kW")
    assert (renamed[0], [row["power"] for row in stored(stores, "D2")]) == (0, [7000])


def test_a_file_of_two_devices_newest_first_over_the_autumn_change(stores: Stores, tmp_path: Path) -> None:
    """Each device passes the repeated hour by itself; equal local times are two readings."""
    hours = ["03:00", "02:00", "02:00", "01:00"]
    rows = [f"2025-10-26 {hour},{device},{i}" for i, hour in enumerate(hours) for device in ("D1", "D2")]
    file = tmp_path / "old.csv"
    file.write_text("timestamp,m,power\n" + "\n".join(rows))
    code, out, _ = energy("import", str(file), "--device-column", "m", "--timezone", "Europe/Berlin")
    assert (code, out.split(",")[0]) == (0, "8 rows: 8 stored")
    for device_id in ("D1", "D2"):
        assert [r["power"] for r in stored(stores, device_id, 2025)] == [3, 2, 1, 0]


def test_a_repeated_hour_that_the_file_has_once(stores: Stores, tmp_path: Path) -> None:
    """Newest first and without a gap, it is the hour of summer; where both are possible, the line is named."""
    file = tmp_path / "old.csv"
    for device, clocks, times, line in (
        ("D1", ["02:30", "02:15", "02:00", "01:45", "01:30"], ["23:30", "23:45", "00:00", "00:15", "00:30"], None),
        ("D2", ["03:00", "02:30", "02:00", "01:30"], ["23:30", "00:00", "00:30", "02:00"], 3),
    ):
        file.write_text("timestamp,power\n" + "".join(f"2025-10-26 {clock},1\n" for clock in clocks))
        code, _, err = energy("import", str(file), "--device", device, "--timezone", "Europe/Berlin")
        assert (code, [f"{row['time']:%H:%M}" for row in stored(stores, device, 2025)]) == (0, times)
        assert (f"line {line}: the zone repeats this hour" in err) is (line is not None)
