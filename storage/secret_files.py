"""Secrets of the platform's own, each in a file of the home that only the owner can read."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from storage.settings import Settings

# With this header our own processes pass the guard in front of Dagster's webserver.
INTERNAL_HEADER = "X-Energy-Internal"


def secret_of(file: Path, make: Callable[[], bytes] = lambda: secrets.token_bytes(32)) -> bytes:
    """The secret in the file. The process that needs it first makes it."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
        new.touch(mode=0o600)
        new.write_bytes(make())
        with suppress(FileExistsError):  # another process was first, and its secret counts
            os.link(new, file)
        new.unlink()
        return file.read_bytes()


def internal_headers(settings: Settings) -> dict[str, str]:
    """The header of our own requests to Dagster's webserver."""
    return {INTERNAL_HEADER: secret_of(settings.energy_home / "dagster-secret").hex()}
