"""`energy status`: what of the local platform runs, and where."""

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from storage.secret_files import internal_headers
from storage.settings import Settings


def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False) -> None:
    """Show which services run here, and where. The exit code is 1 unless all of them are ready."""
    from cli.local import home

    settings = Settings.load()
    state = home.read_state(settings.energy_home)
    if state is None:
        if as_json:
            print(json.dumps({"running": False, "home": str(settings.energy_home), "parts": []}))
        else:
            print(f"No platform runs in {settings.energy_home}. `energy up` starts it.")
        raise typer.Exit(1)
    headers = internal_headers(settings)
    services = [service_now(service, headers) for service in state["services"]]
    if as_json:
        where = {"home": str(settings.energy_home), "pid": state["pid"]}
        print(json.dumps({"running": True, **where, "parts": services}))
    else:
        _print(settings, state["pid"], services)
    if not all(service["ready"] for service in services):
        raise typer.Exit(1)


def service_now(service: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """How a service of the platform's state is now: probed, not remembered."""
    import psutil

    from cli.local import probes

    reason = service["reason"]
    ready = reason == "done"
    if service["probe"] and service["pid"]:
        try:
            if psutil.Process(service["pid"]).status() == psutil.STATUS_ZOMBIE:
                raise psutil.NoSuchProcess(service["pid"])
            probes.ask(service["probe"], service["started_at"], headers)
            ready, reason = True, "ready"
        except probes.NotReady as error:
            reason = str(error)
        except psutil.Error:
            reason = "has ended; it starts again"
    return {
        "name": service["name"],
        "ready": ready,
        "state": reason,
        "pid": service["pid"],
        "address": service["address"],
        "starts": service["starts"],
        "up_seconds": round(time.time() - service["started_at"]) if service["pid"] else None,
        "memory_mb": _memory_mb(service["pid"]),
    }


def _memory_mb(process_id: int | None) -> int | None:
    """Resident memory of a process and of all that it started, in MB."""
    import psutil

    try:
        leader = psutil.Process(process_id) if process_id else None
        family = [leader, *leader.children(recursive=True)] if leader else []
        return round(sum(process.memory_info().rss for process in family) / 1e6) if family else None
    except psutil.Error:
        return None


def _print(settings: Settings, pid: int, services: list[dict[str, Any]]) -> None:
    from cli.local.services import addresses

    print(f"The platform runs in {settings.energy_home} (process {pid}).\n")
    print(f"{'SERVICE':<12}{'STATE':<10}{'PID':>8}{'MB':>7}{'STARTS':>8}  ADDRESS")
    for service in services:
        state = "done" if service["state"] == "done" else "ready" if service["ready"] else "NOT READY"
        numbers = f"{service['pid'] or '':>8}{service['memory_mb'] or '':>7}{service['starts']:>8}"
        print(f"{service['name']:<12}{state:<10}{numbers}  {service['address']}".rstrip())
        if not service["ready"]:
            print(f"{'':<12}{service['state']}")
    print()
    for name, address in addresses(settings).items():
        print(f"{name:<14}{address}")
