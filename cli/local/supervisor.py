"""The local platform: its parts started in the order of their needs, kept running, ended without a trace.

A part that ends is started again, after a pause that grows. A reaper, a process of its own, ends what is left should
the supervisor itself be killed.
"""

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cli.local import home, ports, probes, reaper
from cli.local.logs import PartLog, Screen
from cli.local.services import CODE, PROGRAMS, STORES, Service, services_of
from storage.settings import CHECKOUT, Settings, SettingsError

FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0
# A part that ran this long had recovered: the next pause is the first one again.
RECOVERED = 60.0
# How our programs and Dagster's say that they were asked for something wrong: starting them again would not help.
WRONG_USE = 2


class PlatformFailed(Exception):
    """The platform cannot run; the message says which part and why."""


@dataclass
class _Running:
    part: Service
    log: PartLog
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    starts: int = 0
    ready: threading.Event = field(default_factory=threading.Event)
    reason: str = "waits for what it needs"
    once_ready: bool = False


class Supervisor:
    """Runs the parts of one home; use it as `with platform(settings) as supervisor`."""

    def __init__(self, settings: Settings, screen: Screen | None) -> None:
        home.make(settings.energy_home)
        self._settings = settings
        self._screen = screen
        self._lock = home.lock(settings.energy_home)
        try:
            ports.check(settings)
        except SettingsError:
            os.close(self._lock)
            raise
        logs = settings.energy_home / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        self._running = {
            part.name: _Running(part, PartLog(part.name, logs, screen))
            for part in services_of(settings, ports.free_port())
        }
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._preparing = threading.Lock()
        self._failure: str | None = None
        self._began = time.monotonic()
        self._guardian = self._start_guardian()
        self._threads = [
            threading.Thread(target=self._keep, args=(running,), name=name, daemon=True)
            for name, running in self._running.items()
        ]
        self._threads.append(threading.Thread(target=self._probe, name="probes", daemon=True))
        for thread in self._threads:
            thread.start()

    def wait_until_ready(self, seconds: float, stopped: threading.Event | None = None) -> bool:
        """Return True when every part answers, False when told to stop before.

        Raises:
            PlatformFailed: a part cannot run, or not all of them answer in time.

        """
        deadline = time.monotonic() + seconds
        while not all(running.ready.is_set() for running in self._running.values()):
            self.check()
            if stopped and stopped.is_set():
                return False
            if time.monotonic() > deadline:
                waiting = [f"{name}: {r.reason}" for name, r in self._running.items() if not r.ready.is_set()]
                raise PlatformFailed(
                    f"not ready within {seconds:.0f} s: {'; '.join(waiting)}"
                    f" (logs in {self._settings.energy_home / 'logs'})"
                )
            time.sleep(0.05)
        return True

    def check(self) -> None:
        """Return while the platform can run.

        Raises:
            PlatformFailed: a part said that it never will.

        """
        if self._failure:
            raise PlatformFailed(self._failure)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        """End every part, the stores last, and what they started."""
        with self._changing:
            self._stopping.set()
        for group in reaper.end_in_turn(self._groups(stage) for stage in (PROGRAMS, CODE, STORES)):
            name = next(n for n, r in self._running.items() if r.process and r.process.pid == group)
            self._say(f"{name} did not end in time and was killed")
        for thread in self._threads:
            thread.join(timeout=5)
        if self._guardian.stdin:
            self._guardian.stdin.close()
        self._guardian.wait()
        for running in self._running.values():
            running.log.close()
        (self._settings.energy_home / "state.json").unlink(missing_ok=True)
        os.close(self._lock)

    def _groups(self, stage: int) -> dict[int, int]:
        """The process groups of a stage, and the signal that ends each."""
        parts = [(r.part, r.process) for r in self._running.values()]
        return {process.pid: int(part.stop_signal) for part, process in parts if part.stage == stage and process}

    def _start_guardian(self) -> "subprocess.Popen[bytes]":
        # It holds the home's lock too: nobody starts here before what was left is gone.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[self._lock],
        )

    def _tell_guardian(self, line: str) -> None:
        if self._guardian.stdin:
            self._guardian.stdin.write(f"{line}\n".encode())
            self._guardian.stdin.flush()

    def _keep(self, running: _Running) -> None:
        """A part's thread."""
        try:
            self._keep_running(running)
        except Exception as error:  # noqa: BLE001 - a thread that dies unseen would leave the platform half alive
            running.log.write(traceback.format_exc())
            self._failure = f"{running.part.name} cannot be run: {error!r} (its log has more)"

    def _keep_running(self, running: _Running) -> None:
        """Start a part, and again whenever it ends."""
        part = running.part
        needed = [self._running[name] for name in part.needs]
        while not all(other.ready.wait(0.1) for other in needed):
            if self._stopping.is_set():
                return
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            code = self._run_once(running)
            running.ready.clear()
            if self._stopping.is_set():
                return
            if part.probe is None and code == 0:
                running.reason, running.once_ready = "done", True
                running.ready.set()
                self._note()
                return
            if code == WRONG_USE and not running.once_ready:
                self._failure = running.log.last or f"{part.name} ended with exit code {code}"
                return
            pause = FIRST_PAUSE if time.monotonic() - began > RECOVERED else min(2 * pause, MAX_PAUSE)
            running.reason = f"{_ending(code)}; starts again"
            self._say(f"{part.name} {_ending(code)}; it starts again in {pause:.0f} s")
            self._note()
            self._stopping.wait(pause)

    def _run_once(self, running: _Running) -> int | None:
        """Start a part, pass on what it prints until it ends, end what it left; its exit code."""
        part = running.part
        try:
            with self._preparing:  # parts share files: Dagster's three their configuration
                start = part.prepare()
        except SettingsError as error:
            if not running.once_ready:
                self._failure = str(error)
                self._stopping.wait()
            running.log.write(str(error))
            return None
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "ENERGY_HOME": str(self._settings.energy_home)}
        with self._changing:
            if self._stopping.is_set():
                return None
            process = subprocess.Popen(
                start.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,  # and no session: kernels that share the processor among those do not heed niceness
                env={**environment, **start.environment},
                **{"cwd": CHECKOUT, **start.options},
            )
            self._tell_guardian(f"+ {part.stage} {process.pid} {int(part.stop_signal)}")
            running.process, running.started_at, running.reason = process, time.time(), "starts"
            running.starts += 1
        self._note()
        pump = threading.Thread(target=_pump, args=(process, running.log), daemon=True)
        pump.start()
        code = process.wait()
        # What the part had started is in its group, and would stand in the way of its next start.
        reaper.end({process.pid: int(part.stop_signal)})
        self._tell_guardian(f"- {process.pid}")
        pump.join(timeout=1)
        return code

    def _probe(self) -> None:
        """Ask the parts that are not ready yet, until all are; a part that was started again is asked again."""
        announced = False
        while not self._stopping.wait(0.2):
            waiting = [r for r in self._running.values() if r.part.probe and r.process and not r.ready.is_set()]
            for running in waiting:
                try:
                    probes.ask(running.part.probe or "", running.started_at)
                except probes.NotReady as error:
                    running.reason = str(error)
                else:
                    running.reason, running.once_ready = "ready", True
                    running.ready.set()
            if waiting:
                self._note()
            if not announced and all(r.ready.is_set() for r in self._running.values()):
                announced = True
                self._say(f"ready after {self.seconds:.1f} s")

    def _note(self) -> None:
        """Write down what runs, for `energy status`."""
        parts = [
            {
                "name": name,
                "pid": r.process.pid if r.process and r.part.probe else None,
                "probe": r.part.probe,
                "address": r.part.address,
                "started_at": r.started_at,
                "starts": r.starts,
                "reason": r.reason,
            }
            for name, r in list(self._running.items())
        ]
        with self._changing:
            if not self._stopping.is_set():
                home.write_state(self._settings.energy_home, {"pid": os.getpid(), "parts": parts})

    def _say(self, line: str) -> None:
        if self._screen:
            self._screen.show("platform", line)


@contextmanager
def platform(settings: Settings, screen: Screen | None) -> Iterator[Supervisor]:
    """The platform of a home, running as long as the block.

    Raises:
        SettingsError: it cannot start here: the home is taken or cannot be written, a port is taken.

    """
    supervisor = Supervisor(settings, screen)
    try:
        yield supervisor
    finally:
        supervisor.stop()


def log_folder(settings: Settings) -> Path:
    """Where each part's output is kept."""
    return settings.energy_home / "logs"


def _pump(process: "subprocess.Popen[bytes]", log: PartLog) -> None:
    if process.stdout:
        with process.stdout as lines:
            for line in lines:
                log.write(line.decode(errors="replace"))


def _ending(code: int | None) -> str:
    if code is None:
        return "could not be started"
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
