"""The arrows between the rooms point one way, and so do those between the files of a room."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "storage": set(),
    "ingest": {"storage"},
    "assets": {"storage"},
    "orchestration": {"assets", "storage"},
    "serving": {"ingest", "assets", "storage"},
    "cli": {"ingest", "assets", "orchestration", "serving", "storage"},
}


def imported(file: Path) -> set[str]:
    """The rooms that a file imports from, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found & {*MAY_IMPORT, "tests", "benchmarks"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): extra for f in files if (extra := imported(f) - MAY_IMPORT[room] - {room})}
    assert wrong == {}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_there_are_no_circles_in_a_room(room: str) -> None:
    """Imports within functions count too."""
    files = {".".join(f.relative_to(ROOT).with_suffix("").parts): f for f in (ROOT / room).rglob("*.py")}
    TopologicalSorter({name: modules(file) & files.keys() for name, file in files.items()}).prepare()


def modules(file: Path) -> set[str]:
    """What a file imports, by full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found
