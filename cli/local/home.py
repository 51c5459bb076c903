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


# What PostgreSQL's own user must reach if root starts the platform: that user enters the home but cannot list it.
OF_THE_SERVER = ("postgres", "postgresql")


def make(home: Path) -> None:
    """Create the folder, and see to it that nobody else can read what is in it.

    Raises:
        SettingsError: it cannot be created or written.

    """
    try:
        usual = os.umask(0o022)  # PostgreSQL's user must be able to pass the folders above
        home.mkdir(parents=True, exist_ok=True)
        os.umask(usual)
        _tighten(home)
        trial = home / f".writable-{os.getpid()}"
        trial.write_bytes(b"\0" * 4096)
        trial.unlink()
    except OSError as error:
        raise SettingsError(
            f"ENERGY_HOME={home} cannot be written ({error.strerror});"
            " change its permissions, or set ENERGY_HOME to another folder"
        ) from None


def _tighten(home: Path) -> None:
    """Take from others what they may read. Only homes of earlier releases have such files: see `keep_private`."""
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    for entry in home.iterdir():
        # There may be millions of datasets: they are looked at once, until their folder is closed.
        if entry.name not in OF_THE_SERVER and (entry.name != "objects" or entry.stat().st_mode & 0o077):
            for path in (*entry.rglob("*"), entry):  # the folder last, so that an interrupted start does it again
                mode = path.lstat().st_mode
                if mode & 0o077 and not path.is_symlink():
                    path.chmod(mode & 0o700)


def keep_private() -> None:
    """Let files that this process and its children create be readable by their owner only."""
    os.umask(0o077)


def lock(home: Path) -> int:
    """Lock the home for this process. The lock is held until the last copy of the returned file descriptor is closed.

    Raises:
        SettingsError: another process holds the lock.

    """
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
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
