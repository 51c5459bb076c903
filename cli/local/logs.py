"""What the services print: to a file of bounded size for each, and with a prefix to the terminal."""

import logging
import os
import queue
import re
import sys
import threading
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

MAX_BYTES = 5_000_000  # per file; the one before is kept beside it
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93)
# Dagster prints this of a run that was cancelled, and the stack where that happened.
INTERRUPTED = "dagster._core.errors.DagsterExecutionInterruptedError"
OF_TRACEBACK = re.compile(r"$|Stack Trace:|  ")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Screen:
    """Prints lines from a thread of its own, so that a paused terminal does not block the platform."""

    def __init__(self) -> None:
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=10_000)
        self._colours: dict[str, int] | None = {} if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else None
        self._thread = threading.Thread(target=self._print, name="screen", daemon=True)
        self._thread.start()

    def show(self, name: str, line: str) -> None:
        """Print a service's line, or drop it if thousands already wait."""
        prefix = f"{time.strftime('%H:%M:%S')} {name:<11} |"
        if self._colours is not None:
            colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            self._lines.put_nowait(f"{prefix} {line}\n".encode())
        except queue.Full:
            return

    def close(self) -> None:
        """Print what still waits, unless nobody reads."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout=2)

    def _print(self) -> None:
        # Not through sys.stdout: a blocked write would hold its lock and so block the end of the process.
        while (line := self._lines.get()) is not None:
            try:
                while line:
                    line = line[os.write(1, line) :]
            except OSError:
                return  # the reader has gone


class _BoundedFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the line. A full disk is reported by the services that need the space."""


class ServiceLog:
    """Writes a service's lines to `{folder}/{name}.log` and to the screen if there is one.

    Colours and the tracebacks of cancelled runs are left out.
    """

    def __init__(self, name: str, folder: Path, screen: Screen | None) -> None:
        self._name, self._screen = name, screen
        self.path = folder / f"{name}.log"
        self.path.touch(mode=0o600)
        self._file = _BoundedFile(self.path, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self.last = ""
        self._is_interrupted = False

    def write(self, line: str) -> None:
        line = ESCAPES.sub("", line).rstrip()
        if self._is_interrupted and OF_TRACEBACK.match(line):
            return
        self._is_interrupted = line.startswith(INTERRUPTED)
        self.last = line or self.last
        self._file.handle(logging.makeLogRecord({"name": self._name, "levelno": logging.INFO, "msg": line}))
        if screen := self._screen:  # which another thread may take away
            screen.show(self._name, line)

    def leave_screen(self) -> None:
        """Write to the file alone from now on."""
        self._screen = None

    def follow(self, output: IO[bytes]) -> None:
        """Write the lines of a process's output until it ends."""
        with output:
            for line in output:
                self.write(line.decode(errors="replace"))

    def close(self) -> None:
        self._file.close()
