"""SQL that the tenant's filter does not see: every piece, with the reason why it tells a tenant nothing of others.

The filter of `serving.auth.tenancy` limits mapped classes. Raw SQL, and sessions that are opened without it, must be in
the lists below. A new one fails here until somebody has thought of tenants.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from storage.settings import CHECKOUT

WRITES = "only writes, for rows that ingestion or a run names"
UNREACHED = "no route reaches it: ingestion, runs and commands work for all tenants"
LOCK = "locks, and reads nothing"
RAW_SQL = {
    "storage/alerts.py": {
        "_LOCK": LOCK,
        "_RAISED_WITHIN": "by a rule and a device, which POST /rules/evaluate takes from the tenant's own rules",
        "_LAST_RAISED": UNREACHED,
    },
    "storage/dagster_checks.py": {
        "delete_check_results": UNREACHED,
        "delete_runless_results": UNREACHED,
        "_has_table": UNREACHED,
    },
    "storage/database.py": {
        "limit_statement_time": "sets a limit",
        "check_database": "selects 1",
        "migrate": UNREACHED,
    },
    "storage/dataset_start.py": {"_MOVE": "moves the first day of datasets, which all share"},
    "storage/day_figures.py": {"count_outdated": UNREACHED, "outdated_files": UNREACHED},
    "storage/dirty_days.py": {"_MARK_DIRTY": WRITES, "export_lock": LOCK, "_CLAIM": UNREACHED, "_MARK_RANGE": WRITES},
    "storage/forecast_bands.py": {"_BANDS": UNREACHED},
    "storage/grants.py": {"_LOCK_COUNT": LOCK},
    "storage/job_queue.py": {
        "_NEXT_TURN": "a number: how many jobs others have waiting is not in it",
        "_AHEAD": "two numbers: how many jobs come before one in the queue that all share, and nothing else",
    },
    "storage/last_seen.py": {"_SAVE": WRITES, "_LISTEN": UNREACHED},
    "storage/liveness.py": {"_IS_FREE": UNREACHED},
    "storage/maintenance.py": {
        "_COVERING": "windows of everybody cover a tenant's devices; ingest.devices.Windows leaves out other tenants'",
        "_SPANS": "by a rule and a device, which POST /rules/evaluate takes from the tenant's own rules",
        "_ADD": WRITES,
    },
    "storage/months.py": {"_MONTHS_TO_CLOSE": UNREACHED},
    "storage/notifications.py": {
        "_RECENT": "counts notifications of a device whose alert was just raised",
        "_CLAIM_DUE": UNREACHED,
    },
    "storage/pending.py": {"_LOAD": "by rules and devices of POST /rules/evaluate, the tenant's own", "_SAVE": WRITES},
    "storage/quarantine.py": {"try_lock_replay": LOCK},
    "storage/roles.py": {"make_app_role": UNREACHED},
    "storage/rules.py": {
        "_LOCK_LIMIT": LOCK,
        "_MOST_WATCHED": "counts rules of all tenants that watch a device of the tenant, and names such a device only",
        "_TRIGGERED": WRITES,
    },
    "storage/usage.py": {
        "_TABLES": "sizes of tables, which the route shows to administrators without a tenant only",
        "_DATABASE": "as above",
    },
    "storage/views.py": {"view_table": UNREACHED},
}
UNLIMITED_SESSIONS = {
    "serving/__main__.py": "asks whether there is a key, before the API starts",
    "serving/auth/principal.py": "finds out who asks, and whether a device is the tenant's own",
    "serving/auth/routes.py": "keys and tokens of the client itself",
    "serving/devices/registration.py": "ids of other tenants are taken; the answer says no more",
    "serving/jobs/launcher.py": "records the run of a job that the request has stored, behind its answer",
    "serving/live/routes.py": "keys of the connected clients, and whether a device is the tenant's own",
}


def calls(file: Path, name: str) -> Iterator[str]:
    """The names of the functions and constants at the top of a file that call a function."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and node.name == "_made_from"):
            continue  # columns' defaults and indexes
        called = {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        if name in called:
            yield node.targets[0].id if isinstance(node, ast.Assign) else getattr(node, "name", "?")  # type: ignore[attr-defined] # constants are names here


def test_every_piece_of_raw_sql_has_a_reason() -> None:
    files = sorted((CHECKOUT / "storage").rglob("*.py"))
    found = {
        str(file.relative_to(CHECKOUT)): set(calls(file, "text"))
        for file in files
        if not {"migrations", "telemetry"} & set(file.parts)  # telemetry is by device, which routes have checked
    }
    assert {file: names for file, names in found.items() if names} == {f: set(names) for f, names in RAW_SQL.items()}


def test_rooms_that_requests_pass_write_no_sql() -> None:
    imports = re.compile(r"^from sqlalchemy import .*\btext\b|sqlalchemy\.text|exec_driver_sql", re.MULTILINE)
    files = [*(CHECKOUT / "serving").rglob("*.py"), *(CHECKOUT / "ingest").rglob("*.py")]
    assert [file for file in files if imports.search(file.read_text())] == []


def test_every_session_without_the_filter_has_a_reason() -> None:
    opened = re.compile(r"(?<!Request)\bSession\((?!engine, principal)")
    files = [file for file in (CHECKOUT / "serving").rglob("*.py") if file.name != "tenancy.py"]
    found = {str(file.relative_to(CHECKOUT)) for file in files if opened.search(file.read_text())}
    assert found == set(UNLIMITED_SESSIONS)
