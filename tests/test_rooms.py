"""The arrows between rooms, between the packages of a room and between its modules point one way."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "storage": set(),
    "ingest": {"storage"},
    "assets": {"storage"},
    "web": set(),
    "orchestration": {"assets", "storage", "web"},
    "serving": {"ingest", "assets", "storage", "web"},
    "cli": {"ingest", "assets", "orchestration", "serving", "storage", "web"},
}
# Rules raise alerts in one place; orchestration asks it to, since forecasts are made by analyses.
ALSO_MAY_IMPORT = {"orchestration": {"ingest.rules"}}
# What the API may import of ingestion and of the assets: the names that these packages export.
FACES = {
    *(f"ingest.{name}" for name in ("devices", "rules", "intake", "notify", "mqtt")),
    *(f"assets.{name}" for name in ("datasets", "energy", "quality", "analyses", "reports")),
}
# Libraries that train, draw or query. They cost seconds and hundreds of MB, so they load when they are used.
HEAVY = {"sklearn", "prophet", "statsmodels", "matplotlib", "scipy", "pandas", "duckdb"}
# The parts of storage that know no domain word.
WITHOUT_DOMAIN = {
    "storage.settings",
    "storage.times",
    "storage.validation",
    "storage.database",
    "storage.arrays",
    "storage.comparison",
}
MAX_LINES = 300


def modules_of(room: str) -> dict[str, Path]:
    """The files of a room by module name; a package goes by its own name."""
    names = {file: file.relative_to(ROOT).with_suffix("").parts for file in (ROOT / room).rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): file for file, parts in names.items()}


MODULES = {name: file for room in MAY_IMPORT for name, file in modules_of(room).items()}


@cache
def imports(file: Path) -> frozenset[str]:
    """The modules that a file imports, wherever in the file. A name taken from a package counts for the package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else node.module)
    return frozenset(found)


def room_of(module: str) -> str:
    return module.partition(".")[0]


def package_of(module: str) -> str:
    """The package that a module belongs to; a module at the top of a room stands for itself."""
    parent = module.rpartition(".")[0]
    return module if MODULES[module].name == "__init__.py" or "." not in parent else parent


def circle(arrows: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    wrong = {
        name: extra
        for name, file in modules_of(room).items()
        if (
            extra := {room_of(module) for module in imports(file) - ALSO_MAY_IMPORT.get(room, set())}
            & {*MAY_IMPORT, "tests", "benchmarks"} - allowed
        )
    }
    assert wrong == {}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_there_is_no_circle_between_the_modules_of_a_room(room: str) -> None:
    """Imports within functions count too."""
    files = modules_of(room)
    assert circle({name: {*imports(file)} & files.keys() - {name} for name, file in files.items()}) == []


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_there_is_no_circle_between_the_packages_of_a_room(room: str) -> None:
    files = modules_of(room)
    arrows: dict[str, set[str]] = {}
    for name, file in files.items():
        package = package_of(name)
        needed = {package_of(module) for module in imports(file) if module in files}
        arrows.setdefault(package, set()).update(needed - {package, room})
    assert circle(arrows) == []


def test_the_api_imports_faces_only() -> None:
    wrong = {
        f"{name} imports {module}"
        for name, file in modules_of("serving").items()
        for module in imports(file)
        if room_of(module) in {"ingest", "assets"} and module not in FACES
    }
    assert wrong == set()


def test_the_faces_load_no_library_that_trains_or_draws() -> None:
    code = f"import sys, {', '.join(sorted(FACES))}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_http_knows_no_domain_word() -> None:
    wrong = {
        f"{name} imports {module}"
        for name, file in modules_of("serving").items()
        if name.startswith("serving.http")
        for module in imports(file)
        if room_of(module) in MAY_IMPORT and not module.startswith("serving.http") and module not in WITHOUT_DOMAIN
    }
    assert wrong == set()


def test_a_module_reads_in_one_sitting() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for file in MODULES.values()
        if "migrations" not in file.parts
    }
    long = {name for name, lines in lengths.items() if lines > MAX_LINES}
    assert long == set()
