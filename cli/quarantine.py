"""`energy quarantine`: list what intake refused and replay it. Works on the stores directly, without the API."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from storage.settings import Settings, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from storage.quarantine import Selection
    from storage.telemetry import TelemetryStore

app = typer.Typer(
    help="List the messages that intake refused, with the reasons, and replay them.", no_args_is_help=True
)

Device = Annotated[str | None, typer.Option("--device", help="Only messages of this device.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only those whose reason contains this text.")]
Metric = Annotated[str | None, typer.Option("--metric", help="Only those refused because of this metric.")]
Since = Annotated[
    str | None, typer.Option("--since", help="Only those received at this time or later, e.g. 2026-02-12T10:00:00Z.")
]
Until = Annotated[str | None, typer.Option("--until", help="Only those received before this time.")]


@app.command("list")
def list_rows(
    *,
    device: Device = None,
    reason: Reason = None,
    metric: Metric = None,
    since: Since = None,
    until: Until = None,
    replayed: Annotated[
        bool | None,
        typer.Option("--replayed/--waiting", help="Only those accepted by a replay, or only those still waiting."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Print at most so many.")] = 20,
) -> None:
    """Print refused messages, newest first: id, time of receipt, device, reason, payload."""
    from storage import quarantine
    from storage.stores import open_session

    selection = quarantine.Selection(None, device, reason, metric, _moment(since), _moment(until), replayed)
    with open_session(Settings.load()) as session:
        for row in quarantine.newest_rows(session, selection, limit):
            mark = " (replayed)" if row.replayed_at else ""
            payload = json.dumps(row.payload.decode("utf-8", "backslashreplace"))[:100]
            received = f"{row.received_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            typer.echo(f"{row.id}  {received}  {row.device_id or row.topic}  {row.reason}{mark}  {payload}")


@app.command()
def replay(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids, as `energy quarantine list` prints them.")] = None,
    *,
    device: Device = None,
    reason: Reason = None,
    metric: Metric = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="All messages that wait.")] = False,
) -> None:
    """Decode refused messages again, with the devices and rules of today, and store what is accepted.

    What is refused again stays in the quarantine and is printed with the reason. The exit code is 1 if a store stopped
    answering, or if an id that you gave is not waiting.
    """
    from ingest.intake import ReplayRunning
    from storage.database import open_engine
    from storage.quarantine import Selection
    from storage.stores import open_telemetry_store

    selection = Selection(ids or None, device, reason, metric, _moment(since), _moment(until))
    if selection == Selection() and not everything:
        raise SettingsError("choose messages: give ids, --device, --reason, --metric, --since, --until, or --all")
    settings = Settings.load()
    engine = open_engine(settings)
    store = open_telemetry_store(settings)
    try:
        _replay(settings, engine, store, selection)
    except ReplayRunning as error:
        raise SettingsError(str(error)) from None
    finally:
        store.close()
        engine.dispose()


def _replay(settings: Settings, engine: "Engine", store: "TelemetryStore", selection: "Selection") -> None:
    """Replay page after page, and print what became of it."""
    from sqlmodel import Session

    from ingest import intake
    from storage.quarantine import waiting_ids

    accepted = readings = refused = last_id = 0
    missing = set(selection.ids or ())
    while True:
        with Session(engine) as session:
            waiting = waiting_ids(session, selection, after=last_id, limit=intake.MAX_REPLAYED)
        missing.difference_update(waiting)
        done = intake.replay(settings, engine, store, waiting)
        for row_id, reason in done.refused:
            typer.echo(f"{row_id}  {reason}")
        accepted, readings, refused = accepted + done.accepted, readings + done.readings, refused + len(done.refused)
        last_id = done.last_id
        if done.stopped or len(waiting) < intake.MAX_REPLAYED:
            break
    typer.echo(f"{accepted} messages accepted with {readings} readings, {refused} refused again")
    if done.stopped:
        typer.echo(f"energy: {done.stopped}. The rest still waits; run the command again.", err=True)
    elif missing:
        ids = ", ".join(map(str, sorted(missing)))
        typer.echo(f"energy: not waiting: {ids}; `energy quarantine list --waiting` shows the ids that are.", err=True)
    if done.stopped or missing:
        raise typer.Exit(1)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not a time; write it as 2026-02-12T10:00:00Z") from None
    if moment.tzinfo is None:
        raise SettingsError(f"{text!r} has no UTC offset; write 2026-02-12T10:00:00Z, or +01:00 instead of Z")
    return moment
