"""`energy demo`: run the platform, send a small fleet's real readings through all of it, and print the results."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storage.settings import Settings

if TYPE_CHECKING:
    from cli.demo.flow import Summary


def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Stop after the flow and print a summary as JSON.")] = False,
) -> None:
    """Run the whole flow on real readings: register, publish, alert, export, analyse, report."""
    from cli.demo.flow import Flow
    from cli.local.signals import interrupt_on_stop_signals
    from cli.local.supervisor import PlatformFailed

    settings = Settings.load()
    interrupt_on_stop_signals()
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
        progress.line("stopped. `make demo` or `energy up` starts it again; all data are kept.")
        return
    except PlatformFailed as error:
        print(f"energy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if summary.failed:
        raise typer.Exit(1)


class Progress:
    """Shows the progress of each step on standard error: in place on a terminal, otherwise a line per step."""

    def __init__(self) -> None:
        self._in_place = sys.stderr.isatty()
        self._began: dict[str, float] = {}

    def line(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._in_place else text, file=sys.stderr, flush=True)

    def step(self, name: str, share: float) -> None:
        """Show how far a step is, 0 to 1."""
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
    """Use the platform that already runs in this home, or run one as long as the block."""
    from cli.local import home
    from cli.local.supervisor import log_folder, platform

    if home.read_state(settings.energy_home):
        progress.line(f"using the platform that runs in {settings.energy_home}")
        yield
        return
    with platform(settings, None) as supervisor:
        progress.line(f"starting the platform in {settings.energy_home} (logs in {log_folder(settings)})")
        try:
            supervisor.wait_until_ready()
            progress.line(f"  ready after {supervisor.seconds:.0f} s")
            yield
        finally:
            progress.line("stopping the platform")


def _print(settings: Settings, summary: "Summary") -> None:
    from cli.local.services import addresses

    where = addresses(settings)
    rows = [("LOOK AT", where["pages"])]
    rows += [("READINGS", ", ".join(f"{count:,} {name}" for name, count in summary.readings.items()))]
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
    rows += [(name, address) for name, address in where.items()]
    print()
    previous = ""
    for name, text in rows:
        print(f"{name if name != previous else '':<12}{text}")
        previous = name
    print("\nThe fleet goes on sending. Ctrl-C stops the platform; all data are kept.", flush=True)


def _figures(analysis: dict[str, Any]) -> str:
    shown = {n: f"{v:.3g}" if isinstance(v, float) else v for n, v in analysis["figures"].items() if v is not None}
    return ", ".join(f"{name} {value}" for name, value in shown.items())
