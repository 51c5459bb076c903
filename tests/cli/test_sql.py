import csv
import io
import json
from pathlib import Path

import pytest

from assets.datasets import warehouse
from assets.datasets.export import export_day
from storage.alerts import Alert
from storage.devices import Device
from storage.quarantine import QuarantinedReading
from storage.rules import Rule
from storage.stores import Stores
from storage.times import midnight, utc_now
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


def test_columns_keep_their_types_whether_or_not_they_have_values(plant: Stores) -> None:
    typed = "SELECT typeof(any_value(resolved_at)) AS t, typeof(any_value(threshold_value)) AS v FROM alerts"
    assert ask(typed) == [{"t": "TIMESTAMP WITH TIME ZONE", "v": "DOUBLE"}]
    add_alert(plant)
    assert ask(typed) == [{"t": "TIMESTAMP WITH TIME ZONE", "v": "DOUBLE"}]
    assert ask("SELECT resolved_at - created_at AS t, resolved_at > now() AS later FROM alerts") == [
        {"t": None, "later": None}
    ]
    types = {row["column_name"]: row["column_type"] for row in ask("DESCRIBE dataset_files")}
    assert [types[name] for name in ("rows", "bytes", "start_date", "metrics", "created_at")] == [
        "BIGINT", "BIGINT", "DATE", "JSON", "TIMESTAMP WITH TIME ZONE"
    ]  # fmt: skip


def add_alert(stores: Stores) -> None:
    rule = Rule(rule_name="warm", scope="all_devices", property="power", condition=">", threshold=1)
    stores.session.add(rule)
    stores.session.flush()
    stores.session.add(
        Alert(rule_id=rule.rule_id, device_id="D1", severity="low", message="warm", actual_value=2, threshold_value=1,
              reading_time=utc_now(), rule={})
    )  # fmt: skip
    stores.session.commit()


def test_numbers_are_numbers_and_json_is_json(plant: Stores) -> None:
    (row,) = ask("SELECT sum(rows) AS rows, sum(bytes) AS bytes, avg(rows) AS mean FROM dataset_files")
    assert (row["rows"], row["mean"]) == (4, 4 / 3)
    assert isinstance(row["bytes"], int)
    counts = "metrics.power.count AS n, metrics->'power'->>'max' AS text, metrics->'vibration' AS vibration"
    rows = ask(f"SELECT {counts} FROM dataset_files WHERE device_id = 'D1' ORDER BY start_date")
    assert rows == [
        {"n": 2, "text": "101.0", "vibration": None},
        {"n": None, "text": None, "vibration": {"max": 2.5, "min": 2.5, "sum": 2.5, "count": 1}},
    ]
    _, out, _ = energy("sql", "SELECT metrics FROM dataset_files WHERE device_id = 'D2'", "--format", "csv")
    (document,) = [json.loads(row["metrics"]) for row in csv.DictReader(io.StringIO(out))]
    assert document["power"]["count"] == 1


def test_rules_and_what_was_refused(plant: Stores) -> None:
    plant.session.add(
        Rule(rule_name="hot", scope="selected_devices", device_ids=["D1"], property="power", condition=">",
             threshold=5, active_hours={"days": [0], "from": "06:00", "to": "18:00"}, notification_channels=["mail"])
    )  # fmt: skip
    plant.session.add(QuarantinedReading(device_id="D1", topic="t", payload=b'{"a": "\xc3\xa9\xff"}', reason="bad"))
    plant.session.commit()
    rule = "SELECT device_ids, device_ids[1] AS first, active_hours->>'from' AS since, threshold FROM rules"
    assert ask(rule) == [{"device_ids": ["D1"], "first": "D1", "since": "06:00", "threshold": 5.0}]
    assert energy("sql", rule, "--format", "csv")[1].splitlines()[1] == '"[""D1""]","D1","06:00",5'
    refused = "SELECT device_id, reason, payload, received_at <= now() AS was FROM quarantine"
    assert ask(refused) == [{"device_id": "D1", "reason": "bad", "payload": '{"a": "é\\xff"}', "was": True}]


def test_the_open_day_is_what_the_store_has_now(plant: Stores) -> None:
    minute = (utc_now() - midnight(DAY)).total_seconds() // 60
    today = utc_now().date()
    assert ask("SELECT * FROM open_day") == []
    store(plant, reading(minute, "D1", power=7), reading(minute, "D2", vibration=3))
    rows = ask("SELECT device_id, power, vibration, corrected FROM open_day ORDER BY 1")
    assert rows == [
        {"device_id": "D1", "power": 7.0, "vibration": None, "corrected": False},
        {"device_id": "D2", "power": None, "vibration": 3.0, "corrected": False},
    ]
    both = (
        "SELECT count(*) AS n FROM (SELECT * FROM datasets WHERE timestamp < today()"
        " UNION ALL BY NAME SELECT * FROM open_day)"
    )
    export_day(plant, "D1", today)
    assert ask(both) == [{"n": 6}]
    assert ask("SELECT count(*) AS n FROM open_day", "--device", "D2") == [{"n": 1}]
    assert ask("SELECT count(*) AS n FROM open_day", "--to", "2026-02-13") == [{"n": 0}]
    assert ask("SELECT count(*) AS n FROM open_day", "--from", today.isoformat()) == [{"n": 2}]


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
        ("SELECT * FROM telemetry", "The views are datasets, open_day, energy_quarters, dataset_files, devices"),
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
        "failures",
        "open_day",
        "quarantine",
        "results",
        "rules",
    ]


def test_a_platform_without_datasets(stores: Stores) -> None:
    assert ask("SELECT count(*) AS n, avg(power) AS p FROM datasets") == [{"n": 0, "p": None}]
