"""Dagster's code server: `python -m orchestration.code_server`, with the options of `dagster code-server start`.

That server passes each call to an inner process, which holds the code and is replaced when the definitions are loaded
again. If the inner process ends in another way, the outer one stays and fails every call, so no job would ever start.
Here the outer one ends too, and what supervises it starts both again.
"""

import logging
import os
import sys
import threading
import time

import psutil
from dagster._cli.code_server import code_server_cli

# The inner process ends itself when it hears nothing from the outer one for so many seconds. Dagster's default of 30 is
# over soon on a machine that is very busy, or that was suspended.
INNER_TIMEOUT_SECONDS = "600"
# Looked for more often until it is there: it could end before it was seen.
CHECK_SECONDS, FIRST_CHECK_SECONDS = 2.0, 0.1
EXIT_WITHOUT_CODE = 1

log = logging.getLogger("orchestration")


def main() -> None:
    """Run the code server until it is ended, or has lost its inner process."""
    threading.Thread(target=_end_without_code, name="end-without-code", daemon=True).start()
    code_server_cli(
        ["start", "--heartbeat-ttl", INNER_TIMEOUT_SECONDS, *sys.argv[1:]],
        prog_name="python -m orchestration.code_server",
    )


def _end_without_code() -> None:
    """End this process once there was an inner process and, at two checks in a row, there is none."""
    was_there, missing = False, 0
    while missing < 2:
        time.sleep(CHECK_SECONDS if was_there else FIRST_CHECK_SECONDS)
        is_there = any(_runs(child) for child in psutil.Process().children())
        was_there |= is_there
        missing = missing + 1 if was_there and not is_there else 0
    log.error("The process that holds the code has ended. The code server ends too, to be started again.")
    os._exit(EXIT_WITHOUT_CODE)  # an orderly end would wait for the inner process


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    main()
