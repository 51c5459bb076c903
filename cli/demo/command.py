"""`energy demo`: the platform, a small fleet whose real readings go through all of it, a table of what came out."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.demo.flow import Flow, Summary
from cli.local import home
from cli.local.signals import interrupt_when_asked
from cli.local.supervisor import PlatformFailed, log_folder, platform
from cli.up import PATIENCE, addresses
from storage.settings import Settings


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End after the flow, with a summary as JSON on standard output.")
    ] = False,
) -> None:
    """Run the whole flow on real readings: register, publish, alert, export, analyse, report."""
    settings = Settings.load()
    interrupt_when_asked()
    progress = Progress()
    try:
        with _running_platform(settings, progress):
            flow = Flow(settings, progress.step)
            summary = flow.run()
            if once:
                print(json.dumps(asdict(summary)))
            else:
                _print(settings, summary)
                flow.live(threading.Event())
    except KeyboardInterrupt:
        progress.line("ended; `make demo` or `energy up` starts it again, everything is kept")
        return
    except PlatformFailed as error:
        print(f"energy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if summary.failed:
        raise typer.Exit(1)


class Progress:
    """Steps on standard error, with how far each is: in place on a terminal, a line per step elsewhere."""

    def __init__(self) -> None:
        self._in_place = sys.stderr.isatty()
        self._began: dict[str, float] = {}

    def line(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._in_place else text, file=sys.stderr, flush=True)

    def step(self, name: str, share: float) -> None:
        """Say how far a step is, 0 to 1."""
        now = time.monotonic()
        first = name not in self._began
        began = self._began.setdefault(name, now)
        if share >= 1:
            self.line(f"  {name:<22} done in {now - began:.0f} s")
        elif self._in_place:
            print(f"\r\x1b[K  {name:<22} {share:4.0%}", end="", file=sys.stderr, flush=True)
        elif first:
            self.line(f"  {name} …")


@contextmanager
def _running_platform(settings: Settings, progress: Progress) -> Iterator[None]:
    """The platform that runs in this home already, or one as long as the block."""
    if home.read_state(settings.energy_home):
        progress.line(f"uses the platform that runs in {settings.energy_home}")
        yield
        return
    with platform(settings, None) as supervisor:
        progress.line(f"starts the platform in {settings.energy_home} (logs in {log_folder(settings)})")
        try:
            supervisor.wait_until_ready(PATIENCE)
            progress.line(f"  ready after {supervisor.seconds:.0f} s")
            yield
        finally:
            progress.line("ends the platform")


def _print(settings: Settings, summary: Summary) -> None:
    rows = [("READINGS", ", ".join(f"{count:,} {name}" for name, count in summary.readings.items()))]
    rows += [("ALERTS", f"{summary.alerts} raised by the faults in the data")]
    rows += [("DATASET", f"{d['key']}  {d['rows']:,} readings, {d['size']:,} bytes") for d in summary.datasets]
    rows += [
        ("ANALYSIS", f"{a['device_id']} {a['analysis_type']} by {a['model_name']}: {a['state']}, {_figures(a)}")
        for a in summary.analytics
    ]
    rows += [
        (
            "REPORT",
            f"{r['device_id']} {r['format']}: {r['state']}, {r['figures']['size_bytes']:,} bytes  {r['download']}",
        )
        for r in summary.reports
    ]
    rows += [("FAILED", f"{f['step']}: {f['reason']}") for f in summary.failed]
    rows += [(name, address) for name, address in addresses(settings).items()]
    print()
    previous = ""
    for name, text in rows:
        print(f"{name if name != previous else '':<12}{text}")
        previous = name
    print("\nThe fleet goes on sending. Ctrl-C ends the platform; what it holds is kept.", flush=True)


def _figures(analysis: dict[str, Any]) -> str:
    shown = {n: f"{v:.3g}" if isinstance(v, float) else v for n, v in analysis["figures"].items() if v is not None}
    return ", ".join(f"{name} {value}" for name, value in shown.items())
