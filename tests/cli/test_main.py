"""The `energy` command as a whole: it starts quickly, and says what is wrong in one line."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cli.main import app
from storage.settings import Settings

HEAVY = {"dagster", "sqlalchemy", "pyarrow", "duckdb", "httpx", "fastapi", "numpy"}


def loaded(*arguments: str) -> set[str]:
    """The modules that a command has imported when it ends, in an interpreter of its own."""
    code = (
        "import atexit, sys, cli.main\n"
        "atexit.register(lambda: print('modules:', *{name.partition('.')[0] for name in sys.modules}))\n"
        f"sys.argv = ['energy', *{list(arguments)!r}]\n"
        "cli.main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("modules: ")[2].split())


@pytest.mark.parametrize(
    "command", ["", "up", "sql", "import", "keys", "backfill", "devices import", "quarantine list"]
)
def test_help_loads_no_heavy_library(command: str) -> None:
    assert loaded(*command.split(), "--help") & HEAVY == set()


@pytest.mark.parametrize("command", [("sql", "SELECT 1"), ("keys", "list"), ("quarantine", "list")])
def test_commands_on_the_stores_load_no_dagster(settings: Settings, command: tuple[str, ...]) -> None:
    assert "dagster" not in loaded(*command)


@pytest.mark.parametrize("command", [("keys", "list"), ("quarantine", "list"), ("sql", "SELECT 1")])
def test_a_database_that_does_not_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@127.0.0.1:{settings.mqtt_broker_port}/none")
    done = subprocess.run([sys.executable, "-m", "cli.main", *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("energy: ")
    assert "does not answer" in line


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("models show abc", '"abc" is not a number; give a number such as 12'),
        ("models delete 1 x", '"x" is not a number; give a number such as 12'),
        ("quarantine list --limit 0", '"0" is out of range; give 1 or more'),
        ("quarantine list --limit 1.5", '"1.5" is not a whole number; give one such as 12'),
        ("backfill --from 2026-13-01 --to 2026-12-31", "'2026-13-01' is not a day; write it as 2026-02-12"),
        ("sql select --to 12.02.2026", "'12.02.2026' is not a day; write it as 2026-02-12"),
        ("backfill --from 2026-02-01 --to 2026-02-02 --asset x", "'x' is not one of 'telemetry_dataset'"),
    ],
)
def test_a_wrong_value_is_refused_in_plain_words(command: str, message: str) -> None:
    done = CliRunner().invoke(app, command.split(), env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert message in done.output
    assert "Value error" not in done.output
    assert "Input should" not in done.output
