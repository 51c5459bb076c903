import csv
import io
import json
from pathlib import Path

import pytest

from assets.datasets import warehouse
from assets.datasets.export import export_day
from storage.devices import Device
from storage.stores import Stores
from tests.cli.test_backfill import energy
from tests.support.plant import DAY, reading, store


@pytest.fixture
def plant(stores: Stores) -> Stores:
    stores.session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
    store(stores, reading(0), reading(1), reading(1440, vibration=2.5), reading(0, "D2"), reading(2880))
    for device_id in ("D1", "D2"):
        for day in (12, 13):
            export_day(stores, device_id, DAY.replace(day=day))
    return stores


def ask(query: str, *options: str) -> list[dict[str, object]]:
    code, out, err = energy("sql", query, "--format", "json", *options)
    assert code == 0, err
    rows: list[dict[str, object]] = json.loads(out)
    return rows


def test_rows_of_files_that_the_catalogue_names(plant: Stores) -> None:
    plant.objects.put("datasets/D1/19990101_19990101.parquet", b"no dataset: the catalogue does not know it")
    rows = ask(
        "SELECT device_id, count(*) AS n, max(vibration) AS v, avg(power) AS p FROM datasets GROUP BY 1 ORDER BY 1"
    )
    assert rows == [
        {"device_id": "D1", "n": 3, "v": 2.5, "p": 100.5},
        {"device_id": "D2", "n": 1, "v": None, "p": 100.0},
    ]
    assert ask("SELECT count(*) AS n FROM datasets", "--device", "D1", "--from", "2026-02-13") == [{"n": 1}]


def test_beside_devices_alerts_and_results(plant: Stores) -> None:
    joined = (
        "SELECT device_name, rows FROM dataset_files JOIN devices USING (device_id) WHERE start_date = '2026-02-12'"
    )
    assert ask(joined) == [{"device_name": "Pump", "rows": 2}]
    assert ask("SELECT count(*) AS n FROM alerts") == ask("SELECT count(*) AS n FROM results") == [{"n": 0}]
    assert ask("SELECT * FROM results WHERE status = 'completed'") == []


def test_energy_by_quarter_hours(plant: Stores) -> None:
    store(plant, *(reading(m, "D3", power=1200.0) for m in range(0, 61, 5)))
    export_day(plant, "D3", DAY)
    rows = ask("SELECT * FROM energy_quarters ORDER BY start_time", "--device", "D3")
    assert [(row["energy_kwh"], row["energy_export_kwh"], row["coverage"]) for row in rows] == [(0.3, 0.0, 1.0)] * 4
    assert rows[1]["start_time"] == "2026-02-12 00:15:00+00:00"
    assert {row["source"] for row in rows} == {"integral:power"}
    assert ask("SELECT sum(energy_kwh) AS kwh FROM energy_quarters WHERE device_id = 'D3'") == [{"kwh": 1.2}]
    assert ask("SELECT count(*) AS n FROM energy_quarters", "--from", "2026-02-14") == [{"n": 0}]


def test_for_people_and_for_spreadsheets(plant: Stores) -> None:
    query = "SELECT timestamp, power FROM datasets WHERE device_id = 'D2'"
    code, out, _ = energy("sql", query)
    assert (code, out.splitlines()[0]) == (0, "timestamp                  power")
    assert out.splitlines()[2] == "2026-02-12 00:00:00+00:00  100"
    _, out, _ = energy("sql", query, "--format", "csv")
    assert list(csv.reader(io.StringIO(out)))[1][1] == "100"


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("DELETE FROM devices", "Give one SELECT statement."),
        ("SELECT 1; SELECT 2", "Give one SELECT statement."),
        ("COPY (SELECT 1) TO '/tmp/x.csv'", "Give one SELECT statement."),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT nothing FROM datasets", "nothing"),
        ("SELEC", "syntax error"),
        ("SELECT * FROM telemetry", "The views are datasets, energy_quarters, dataset_files, devices, alerts, results"),
    ],
)
def test_what_does_not_only_read_is_refused(plant: Stores, query: str, complaint: str) -> None:
    code, out, err = energy("sql", query)
    assert (code, out) == (2, "")
    assert complaint in err


ATTACKS = (
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '.tmp/written.csv'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '.tmp/written.csv'",
    "/* */ EXPLAIN ANALYZE COPY (SELECT 1) TO '.tmp/written.csv'",
    "EXPLAIN COPY (SELECT 1) TO '.tmp/written.csv'",
    "EXPLAIN ANALYZE CREATE TABLE t (a int)",
    "EXPLAIN ANALYZE DELETE FROM devices",
    "SELECT * FROM query('COPY (SELECT 1) TO ''.tmp/written.csv''')",
    "EXPORT DATABASE '.tmp/written'",
    "ATTACH '.tmp/written.db' AS other",
    "ATTACH 'postgresql://127.0.0.1/energy_platform' AS other (TYPE postgres)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "SET temp_directory = '/tmp'",
    "RESET lock_configuration",
    "CREATE TABLE t AS SELECT 1",
    "SELECT * FROM '.tmp/secret.csv'",
    "SELECT * FROM read_csv('.tmp/secret.csv')",
    "SELECT * FROM read_text('.tmp/secret.csv')",
    "SELECT * FROM read_blob('.tmp/*')",
    "SELECT * FROM read_json('.tmp/secret.csv')",
    "SELECT * FROM parquet_scan('.tmp/secret.csv')",
    "SELECT * FROM sniff_csv('.tmp/secret.csv')",
    "SELECT * FROM glob('.tmp/*')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_csv('https://127.0.0.1/x.csv')",
)


def test_no_query_reaches_a_file(plant: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the folder that DuckDB spills to, which it allows by default."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / "secret.csv").write_text("secret\n1\n")
    for attack in ATTACKS:
        with pytest.raises(warehouse.QueryRefused):
            pytest.fail(f"{attack}: {warehouse.query(plant, attack).to_pylist()}")
    assert [path.name for path in (tmp_path / ".tmp").iterdir()] == ["secret.csv"]


def test_explain_shows_how_a_select_is_run(plant: Stores) -> None:
    for explain in ("EXPLAIN", "explain analyze", "EXPLAIN (FORMAT json)"):
        assert "explain_value" in ask(f"{explain} SELECT count(*) FROM devices")[0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--device", "nobody"), "device nobody is not registered"),
        (("--from", "2026-02-13", "--to", "2026-02-12"), "is after"),
    ],
)
def test_files_that_cannot_be_meant(stores: Stores, options: tuple[str, ...], complaint: str) -> None:
    code, _, err = energy("sql", "SELECT count(*) FROM datasets", *options)
    assert code == 2
    assert complaint in err


def test_what_there_is(plant: Stores) -> None:
    assert [row["name"] for row in ask("SHOW TABLES")] == [
        "alerts",
        "corrections",
        "dataset_files",
        "datasets",
        "devices",
        "energy_quarters",
        "results",
    ]


def test_a_platform_without_datasets(stores: Stores) -> None:
    assert ask("SELECT count(*) AS n, avg(power) AS p FROM datasets") == [{"n": 0, "p": None}]
