"""The arrows between the rooms point one way."""

import ast
from graphlib import CycleError, TopologicalSorter
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


def test_no_module_of_serving_imports_itself_over_others() -> None:
    """Imports within functions count too."""
    modules = {f"serving.{file.stem}": file for file in (ROOT / "serving").glob("*.py")}
    arrows = {}
    for module, file in modules.items():
        imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        named = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
        arrows[module] = (named | {str(node.module) for node in imports}) & modules.keys()
    assert sum(map(len, arrows.values())) > 50
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))
