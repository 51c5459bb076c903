"""Ends what a supervisor leaves behind when it is killed: a process of its own, in a session of its own.

It reads lines from its standard input, a pipe from the supervisor: `+ stage group signal` when a process group was
started, `- group` when it is gone. The end of the pipe is the end of the supervisor; then it ends the groups, last
stage first. It imports little and is run by its path (`python -I -S`), so it starts at once and rests at a few MB.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping

# Seconds that the groups of one stage get between their signal and SIGKILL, at least. Three stages fit into 10 s.
PATIENCE = 3.2


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
    """Send a signal to a process group, if there still is one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def end(groups: Mapping[int, int], patience: float = PATIENCE) -> list[int]:
    """Send each process group its signal and wait until all are gone; kill, and return, those that are not in time."""
    for group, number in groups.items():
        send(group, number)
    deadline = time.monotonic() + patience
    left = list(groups)
    while (left := [group for group in left if is_alive(group)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in left:
        send(group, signal.SIGKILL)
    return left


def end_in_turn(stages: Iterable[Mapping[int, int]]) -> list[int]:
    """End one stage after the other, each with the time too that those before it left; returns what was killed."""
    killed: list[int] = []
    deadline = time.monotonic()
    for groups in stages:
        deadline += PATIENCE
        killed += end(groups, deadline - time.monotonic())
    return killed


def main() -> None:
    """Keep the list that the supervisor sends, and end it when the supervisor has ended."""
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
