"""The home of a platform: locked by one supervisor at a time, with the state that it tells other processes."""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from storage.settings import SettingsError

# The reaper of a killed supervisor holds the lock while it ends what was left.
LOCK_TIMEOUT_SECONDS = 20.0


def make(home: Path) -> None:
    """Create the folder.

    Raises:
        SettingsError: it cannot be created or written.

    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        trial = home / f".writable-{os.getpid()}"
        trial.write_bytes(b"\0" * 4096)
        trial.unlink()
    except OSError as error:
        raise SettingsError(
            f"ENERGY_HOME={home} cannot be written ({error.strerror});"
            " change its permissions, or set ENERGY_HOME to another folder"
        ) from None


def lock(home: Path) -> int:
    """Lock the home for this process. The lock is held until the last copy of the returned file descriptor is closed.

    Raises:
        SettingsError: another process holds the lock.

    """
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while not _take(descriptor):
        holder = int(os.pread(descriptor, 20, 0) or b"0")
        if _is_alive(holder) or time.monotonic() > deadline:
            os.close(descriptor)
            raise SettingsError(
                f"the platform already runs in {home} (process {holder}); see `energy status`."
                " For a second platform, set ENERGY_HOME to another folder and choose other ports."
            )
        time.sleep(0.1)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def is_locked(home: Path) -> bool:
    """Whether a platform runs in the home, or is still being stopped."""
    try:
        descriptor = os.open(home / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def write_state(home: Path, state: dict[str, Any]) -> None:
    """Write down what runs, for `energy status`."""
    new = home / "state.json.new"
    new.write_text(json.dumps(state, indent=1))
    new.replace(home / "state.json")


def read_state(home: Path) -> dict[str, Any] | None:
    """The state that a running platform wrote; None if no platform runs here."""
    try:
        state: dict[str, Any] = json.loads((home / "state.json").read_text())
    except (OSError, ValueError):
        return None
    return state if is_locked(home) and _is_alive(state["pid"]) else None


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0
