"""The local platform: starts its services in the order of their needs, keeps them running, and ends them all.

A service that ends is started again, after a pause that grows. If the supervisor itself is killed, the reaper, a
process of its own, ends what is left.
"""

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cli.local import home, ports, probes, reaper
from cli.local.logs import Screen, ServiceLog
from cli.local.postgres import without_secrets
from cli.local.services import CODE, PROGRAMS, STORES, Service, services_of
from storage.secret_files import internal_headers
from storage.settings import CHECKOUT, Settings, SettingsError

READY_TIMEOUT_SECONDS = 180.0
# Seconds between the end of a service and its next start.
FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0
# A service that ran for so many seconds had recovered: its next pause is the first one again.
RECOVERED = 60.0
# The exit code of our programs and of Dagster's for wrong usage: starting them again would not help.
WRONG_USAGE = 2


class PlatformFailed(Exception):
    """The platform cannot run; the message says which service and why."""


@dataclass
class _Running:
    service: Service
    log: ServiceLog
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    starts: int = 0
    ready: threading.Event = field(default_factory=threading.Event)
    reason: str = "waits for the services it needs"
    once_ready: bool = False


class Supervisor:
    """Runs the services of one home; use it as `with platform(settings) as supervisor`."""

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
            service.name: _Running(service, ServiceLog(service.name, logs, screen))
            for service in services_of(settings, ports.free_port())
        }
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._preparing = threading.Lock()
        self._failure: str | None = None
        self._began = time.monotonic()
        self._reaper = self._start_reaper()
        self._threads = [
            threading.Thread(target=self._keep, args=(running,), name=name, daemon=True)
            for name, running in self._running.items()
        ]
        self._threads.append(threading.Thread(target=self._probe, name="probes", daemon=True))
        for thread in self._threads:
            thread.start()

    def wait_until_ready(self, stopped: threading.Event | None = None) -> bool:
        """Return True when every service answers, False if `stopped` is set before.

        Raises:
            PlatformFailed: a service cannot run, or not all of them answer in time.

        """
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not all(running.ready.is_set() for running in self._running.values()):
            self.check()
            if stopped and stopped.is_set():
                return False
            if time.monotonic() > deadline:
                waiting = [f"{name}: {r.reason}" for name, r in self._running.items() if not r.ready.is_set()]
                raise PlatformFailed(
                    f"not ready within {READY_TIMEOUT_SECONDS:.0f} s: {'; '.join(waiting)}"
                    f" (logs in {self._settings.energy_home / 'logs'})"
                )
            time.sleep(0.05)
        return True

    def check(self) -> None:
        """Return while the platform can run.

        Raises:
            PlatformFailed: a service ended in a way that a new start would not cure.

        """
        if self._failure:
            raise PlatformFailed(self._failure)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        """End every service, the stores last, and everything that they started."""
        with self._changing:
            self._stopping.set()
        for running in self._running.values():
            running.log.leave_screen()  # Dagster's daemon prints a traceback for each tick that it drops
        for group in reaper.end_in_turn(self._groups(stage) for stage in (PROGRAMS, CODE, STORES)):
            name = next(n for n, r in self._running.items() if r.process and r.process.pid == group)
            self._say(f"{name} did not end in time and was killed")
        for thread in self._threads:
            thread.join(timeout=5)
        self._reaper.communicate()  # closes its standard input, and waits
        for running in self._running.values():
            running.log.close()
        (self._settings.energy_home / "state.json").unlink(missing_ok=True)
        os.close(self._lock)

    def _groups(self, stage: int) -> dict[int, int]:
        """The process groups of a stage, and the signal that ends each."""
        members = [r for r in self._running.values() if r.service.stage == stage]
        return {r.process.pid: int(r.service.stop_signal) for r in members if r.process}

    def _start_reaper(self) -> "subprocess.Popen[bytes]":
        # It holds the home's lock too: no other platform starts here before what was left is gone.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[self._lock],
        )

    def _tell_reaper(self, line: str) -> None:
        if self._reaper.stdin:
            self._reaper.stdin.write(f"{line}\n".encode())
            self._reaper.stdin.flush()

    def _keep(self, running: _Running) -> None:
        """Run by the service's own thread."""
        try:
            self._keep_running(running)
        except Exception as error:  # noqa: BLE001 - a thread that dies unseen would leave the platform half alive
            running.log.write(traceback.format_exc())
            self._failure = f"{running.service.name} cannot run: {error!r} (its log says more)"

    def _keep_running(self, running: _Running) -> None:
        """Start a service, and start it again whenever it ends."""
        service = running.service
        needed = [self._running[name] for name in service.needs]
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
            if service.probe is None and code == 0:
                running.reason, running.once_ready = "done", True
                running.ready.set()
                self._note()
                return
            if code == WRONG_USAGE and not running.once_ready:
                self._failure = running.log.last or f"{service.name} ended with exit code {code}"
                return
            pause = FIRST_PAUSE if time.monotonic() - began > RECOVERED else min(2 * pause, MAX_PAUSE)
            running.reason = f"{_ending(code)}; starts again"
            self._say(f"{service.name} {_ending(code)}; it starts again in {pause:.0f} s")
            self._note()
            self._stopping.wait(pause)

    def _run_once(self, running: _Running) -> int | None:
        """Run a service until it ends, pass on what it prints, and end what it left behind. Returns its exit code."""
        service = running.service
        try:
            with self._preparing:  # services share files: the three of Dagster share their configuration
                start = service.prepare()
        except SettingsError as error:
            if not running.once_ready:
                self._failure = str(error)
                self._stopping.wait()
            running.log.write(str(error))
            return None
        inherited = os.environ if start.is_ours else without_secrets()
        environment = {**inherited, "PYTHONUNBUFFERED": "1", "ENERGY_HOME": str(self._settings.energy_home)}
        with self._changing:
            if self._stopping.is_set():
                return None
            process = subprocess.Popen(
                start.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,  # not a session: kernels that schedule by session would ignore niceness
                env={**environment, **start.environment},
                **{"cwd": CHECKOUT, **start.options},
            )
            self._tell_reaper(f"+ {service.stage} {process.pid} {int(service.stop_signal)}")
            running.process, running.started_at, running.reason = process, time.time(), "starts"
            running.starts += 1
        self._note()
        pump = threading.Thread(target=running.log.follow, args=(process.stdout,), daemon=True)
        pump.start()
        code = process.wait()
        if not self._stopping.is_set():  # `stop` ends all groups itself
            # What the service had started is in its process group, and would be in the way of its next start.
            reaper.end({process.pid: int(service.stop_signal)})
        self._tell_reaper(f"- {process.pid}")
        pump.join(timeout=1)
        return code

    def _probe(self) -> None:
        """Probe the services that are not ready; one that was started again is probed again."""
        announced = False
        headers = internal_headers(self._settings)
        while not self._stopping.wait(0.2):
            waiting = [r for r in self._running.values() if r.service.probe and r.process and not r.ready.is_set()]
            for running in waiting:
                try:
                    probes.ask(running.service.probe or "", running.started_at, headers)
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
        services = [
            {
                "name": name,
                "pid": r.process.pid if r.process and r.service.probe else None,
                "probe": r.service.probe,
                "address": r.service.address,
                "started_at": r.started_at,
                "starts": r.starts,
                "reason": r.reason,
            }
            for name, r in list(self._running.items())
        ]
        with self._changing:
            if not self._stopping.is_set():
                # Without room on the disk the old state stays; the thread that calls this must go on.
                with suppress(OSError):
                    home.write_state(self._settings.energy_home, {"pid": os.getpid(), "services": services})

    def _say(self, line: str) -> None:
        if self._screen:
            self._screen.show("platform", line)


@contextmanager
def platform(settings: Settings, screen: Screen | None) -> Iterator[Supervisor]:
    """The platform of a home, running as long as the block.

    Raises:
        SettingsError: the home is in use or cannot be written, or a port is taken.

    """
    supervisor = Supervisor(settings, screen)
    try:
        yield supervisor
    finally:
        supervisor.stop()


def log_folder(settings: Settings) -> Path:
    """The folder with each service's output."""
    return settings.energy_home / "logs"


def _ending(code: int | None) -> str:
    if code is None:
        return "could not be started"
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
