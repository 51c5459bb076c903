"""Ends what a supervisor leaves behind when it is killed. It runs as a process in a session of its own.

It reads lines from its standard input, a pipe from the supervisor: `+ stage group signal` when a process group was
started, `- group` when it has ended. When the pipe ends, the supervisor has ended; then the reaper ends the groups
that are left, last stage first. It imports little and is run by its path (`python -I -S`), so it starts at once and
uses a few MB.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping

# The groups of a stage get at least so long between their signal and SIGKILL. Three stages fit into 10 s.
STAGE_TIMEOUT_SECONDS = 3.0


def is_alive(group: int) -> bool:
    """Whether a process group has a member."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def send(group: int, number: int) -> None:
    """Send a signal to a process group, if it still exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def end(groups: Mapping[int, int], timeout: float = STAGE_TIMEOUT_SECONDS) -> list[int]:
    """Send each process group its signal and wait. Kills, and returns, the groups that are still alive in the end."""
    for group, number in groups.items():
        send(group, number)
    deadline = time.monotonic() + timeout
    left = list(groups)
    while (left := [group for group in left if is_alive(group)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in left:
        send(group, signal.SIGKILL)
    return left


def end_in_turn(stages: Iterable[Mapping[int, int]]) -> list[int]:
    """End one stage after the other; time that a stage does not use is left to the next. Returns what was killed."""
    killed: list[int] = []
    deadline = time.monotonic()
    for groups in stages:
        deadline += STAGE_TIMEOUT_SECONDS
        killed += end(groups, deadline - time.monotonic())
    return killed


def main() -> None:
    """Keep the list of groups that the supervisor sends, and end them when the supervisor has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stages: dict[int, dict[int, int]] = {}
    for line in sys.stdin:
        match line.split():
            case "+", stage, group, wanted:
                stages.setdefault(int(stage), {})[int(group)] = int(wanted)
            case "-", group:
                for groups in stages.values():
                    groups.pop(int(group), None)
    end_in_turn(stages[stage] for stage in sorted(stages, reverse=True))


if __name__ == "__main__":
    main()
