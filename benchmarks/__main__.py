"""Run the benchmarks named, or all: each is a module here with a `main()`; options after the names are theirs."""

import sys
import traceback
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import pytest


def names() -> list[str]:
    here = Path(__file__).parent
    return sorted(path.stem for path in here.glob("*.py") if "def main(" in path.read_text() and path.stem[0] != "_")


def run(name: str) -> bool:
    """One benchmark; it skips with the reason where a server that it needs is not there. False: it failed."""
    print(f"== {name}", flush=True)
    try:
        import_module(f"benchmarks.{name}").main()
    except pytest.skip.Exception as skip:
        print(f"  skipped: {skip}")
    except Exception:  # noqa: BLE001 - it is shown, and the others are still of interest
        traceback.print_exc()
        return False
    return True


asked = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
if unknown := set(asked).difference(names()):
    sys.exit(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(names())}")
failed = [name for name in asked or names() if not run(name)]
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
