"""A clock that a benchmark sets: `python -m benchmarks.clock 2026-11-29T01:30:00Z serving` starts the API then."""

import runpy
import sys
from datetime import UTC, datetime

from storage import times


def set_clock(now: datetime) -> None:
    """Let `utc_now` begin at `now` in all modules that are imported from here on."""
    ahead = now - datetime.now(UTC)
    times.utc_now = lambda: datetime.now(UTC) + ahead


if __name__ == "__main__":
    moment, module = sys.argv[1:]
    set_clock(datetime.fromisoformat(moment))
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
