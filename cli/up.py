"""`energy up` and `energy status`: the local platform in the foreground, and what of it runs."""

import json
import sys
import threading
import time
from typing import Annotated, Any

import psutil
import typer

from cli.local import home, probes
from cli.local.logs import Screen
from cli.local.signals import stop_event
from cli.local.supervisor import PlatformFailed, Supervisor, platform
from storage.settings import Settings

PATIENCE = 180.0


def up() -> None:
    """Run the platform in the foreground, until Ctrl-C."""
    settings = Settings.load()
    stopped = stop_event()
    screen = Screen()
    try:
        with platform(settings, screen) as supervisor:
            _run(settings, supervisor, screen, stopped)
            screen.show("platform", "ends")
    except PlatformFailed as error:
        screen.close()
        print(f"energy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    screen.close()


def _run(settings: Settings, supervisor: Supervisor, screen: Screen, stopped: threading.Event) -> None:
    if supervisor.wait_until_ready(PATIENCE, stopped):
        for name, address in addresses(settings).items():
            screen.show("platform", f"{name:<14} {address}")
    while not stopped.wait(0.5):
        supervisor.check()


def addresses(settings: Settings) -> dict[str, str]:
    """Where people and devices find the platform."""
    host = "127.0.0.1" if settings.api_host in ("0.0.0.0", "::") else settings.api_host  # noqa: S104 - compared, not bound
    api = f"http://{host}:{settings.api_port}"
    return {
        "API docs": f"{api}/docs",
        "Dagster UI": settings.dagster_address,
        "MQTT broker": f"{settings.broker_host}:{settings.mqtt_broker_port}",
        "home": str(settings.energy_home),
    }


def status(*, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Tell what runs here, and where; exit code 1 unless everything does."""
    settings = Settings.load()
    state = home.read_state(settings.energy_home)
    if state is None:
        if as_json:
            print(json.dumps({"running": False, "home": str(settings.energy_home), "parts": []}))
        else:
            print(f"No platform runs in {settings.energy_home}; `energy up` starts it.")
        raise typer.Exit(1)
    parts = [part_now(part) for part in state["parts"]]
    if as_json:
        print(json.dumps({"running": True, "home": str(settings.energy_home), "pid": state["pid"], "parts": parts}))
    else:
        _print(settings, state["pid"], parts)
    if not all(part["ready"] for part in parts):
        raise typer.Exit(1)


def part_now(part: dict[str, Any]) -> dict[str, Any]:
    """How a part of the platform's state is now: asked, not remembered."""
    reason = part["reason"]
    ready = reason == "done"
    if part["probe"] and part["pid"]:
        try:
            if psutil.Process(part["pid"]).status() == psutil.STATUS_ZOMBIE:
                raise psutil.NoSuchProcess(part["pid"])
            probes.ask(part["probe"], part["started_at"])
            ready, reason = True, "ready"
        except probes.NotReady as error:
            reason = str(error)
        except psutil.Error:
            reason = "has ended; starts again"
    return {
        "name": part["name"],
        "ready": ready,
        "state": reason,
        "pid": part["pid"],
        "address": part["address"],
        "starts": part["starts"],
        "up_seconds": round(time.time() - part["started_at"]) if part["pid"] else None,
        "memory_mb": _memory(part["pid"]),
    }


def _memory(process_id: int | None) -> int | None:
    """Resident memory of a part with all that it started, in MB."""
    try:
        leader = psutil.Process(process_id) if process_id else None
        family = [leader, *leader.children(recursive=True)] if leader else []
        return round(sum(process.memory_info().rss for process in family) / 1e6) if family else None
    except psutil.Error:
        return None


def _print(settings: Settings, pid: int, parts: list[dict[str, Any]]) -> None:
    print(f"The platform runs in {settings.energy_home} (process {pid}).\n")
    print(f"{'PART':<12}{'STATE':<10}{'PID':>8}{'MB':>7}{'STARTS':>8}  ADDRESS")
    for part in parts:
        state = "done" if part["state"] == "done" else "ready" if part["ready"] else "NOT READY"
        line = f"{part['name']:<12}{state:<10}{part['pid'] or '':>8}{part['memory_mb'] or '':>7}{part['starts']:>8}"
        print(f"{line}  {part['address']}".rstrip())
        if not part["ready"]:
            print(f"{'':<12}{part['state']}")
    print()
    for name, address in addresses(settings).items():
        print(f"{name:<14}{address}")
