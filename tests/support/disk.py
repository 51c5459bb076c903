"""A disk that is too small: a tmpfs over a folder, in a mount namespace of its own that nobody else sees."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_disk = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("nsenter"), reason="a small disk takes root and nsenter"
)


class Disk:
    """What is started with `inside` before its command finds the small disk in the folder's place."""

    def __init__(self, folder: Path, holder: int) -> None:
        self.folder = folder
        self.inside = ["nsenter", "-t", str(holder), "-m"]

    def size(self, name: str) -> int:
        """Bytes of a file on it."""
        return int(subprocess.check_output([*self.inside, "stat", "-c", "%s", self.folder / name]))

    def fill(self) -> None:
        """To the last block."""
        self._run(f"dd if=/dev/zero of={self.folder}/filler bs=4k 2>/dev/null || true")

    def free(self) -> None:
        """Give back what `fill` took."""
        self._run(f"rm {self.folder}/filler")

    def _run(self, script: str) -> None:
        subprocess.run([*self.inside, "sh", "-c", script], check=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """One with the folder's files and their owners on it, as long as the block lasts."""
    script = f"""set -e
    cp -a {folder} {folder}.copy && mount -t tmpfs -o size={megabytes}m tmpfs {folder} && cp -a {folder}.copy/. {folder}
    rm -r {folder}.copy && echo ready && exec sleep 300"""
    # It goes with the process that holds it.
    holder = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE)
    assert holder.stdout
    try:
        assert holder.stdout.readline() == b"ready\n"
        yield Disk(folder, holder.pid)
    finally:
        holder.kill()
        holder.communicate()
