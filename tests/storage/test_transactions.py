"""Storage keeps the SQL and never ends a transaction; whoever has a unit of work (a request, a batch, a run) does."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("ingest", "assets", "orchestration", "serving", "cli")

# `migrate` has a connection of its own; its commit ends what it does after Alembic.
MAY_COMMIT = {("storage/database.py", "migrate")}
STATEMENTS = {"select", "insert", "update", "delete", "text"}
MAY_HAVE_STATEMENTS = {
    "serving/auth/tenancy.py": "reads the registry's device ids for the filter that every query of a tenant gets",
    "serving/http/pagination.py": "counts and orders any statement",
}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def calls_that_end_a_transaction(file: Path) -> Iterator[tuple[str, str]]:
    """Each use of a method `commit` or `rollback`: the file and the function."""

    def visit(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Attribute) and child.attr in {"commit", "rollback"}:
                yield name_of(file), function
            inside = child.name if isinstance(child, ast.FunctionDef) else function
            yield from visit(child, inside)

    return visit(ast.parse(file.read_text()), "")


def statements(file: Path) -> set[str]:
    """The names for SQL statements that a file takes from SQLAlchemy or SQLModel."""
    tree = ast.parse(file.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    of_sql = [node for node in imports if str(node.module).partition(".")[0] in {"sqlalchemy", "sqlmodel"}]
    return {alias.name for node in of_sql for alias in node.names} & STATEMENTS


def test_storage_ends_no_transaction() -> None:
    files = [file for file in (ROOT / "storage").rglob("*.py") if "migrations" not in file.parts]
    ending = {call for file in files for call in calls_that_end_a_transaction(file)}
    assert ending - MAY_COMMIT == set()


def test_statements_stand_in_storage() -> None:
    with_statements = {name_of(file) for room in ROOMS for file in (ROOT / room).rglob("*.py") if statements(file)}
    assert with_statements == MAY_HAVE_STATEMENTS.keys()
