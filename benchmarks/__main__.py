"""Run the benchmarks named, or all: each is a module here with a `main()`."""

import sys
from importlib import import_module
from pathlib import Path


def names() -> list[str]:
    here = Path(__file__).parent
    return sorted(path.stem for path in here.glob("*.py") if "def main(" in path.read_text() and path.stem[0] != "_")


for name in [name for name in names() if name in sys.argv[1:]] or names():
    print(f"== {name}", flush=True)
    import_module(f"benchmarks.{name}").main()
