"""`energy quarantine`: look at what intake refused, give it a second chance; on the stores, without the API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from ingest.intake import quarantine
from ingest.intake.quarantine import ReplayRunning
from storage.database import open_engine
from storage.quarantine import QuarantinedReading, Selection
from storage.settings import Settings, SettingsError
from storage.stores import open_telemetry_store
from storage.telemetry import StoreUnavailable

app = typer.Typer(
    help="What intake refused, with the reason: look at it, give it a second chance.", no_args_is_help=True
)

Device = Annotated[str | None, typer.Option("--device", help="Of this device.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Whose reason contains this text.")]
Metric = Annotated[str | None, typer.Option("--metric", help="Refused because of this metric.")]
Since = Annotated[str | None, typer.Option("--since", help="Received then or later, e.g. 2026-02-12T10:00:00Z.")]
Until = Annotated[str | None, typer.Option("--until", help="Received before.")]


@app.command("list")
def list_rows(
    *,
    device: Device = None,
    reason: Reason = None,
    metric: Metric = None,
    since: Since = None,
    until: Until = None,
    replayed: Annotated[
        bool | None, typer.Option("--replayed/--waiting", help="Only those taken at a second chance, or not yet.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
) -> None:
    """Print what was refused, newest first: id, time of receipt, device, reason, payload."""
    selection = Selection(None, device, reason, metric, _moment(since), _moment(until), replayed)
    row = QuarantinedReading
    with _database(Settings.load()) as engine, Session(engine) as session:
        found = selection.of(select(row)).order_by(col(row.received_at).desc(), col(row.id).desc())
        for one in session.exec(found.limit(limit)):
            mark = " (replayed)" if one.replayed_at else ""
            payload = json.dumps(one.payload.decode("utf-8", "backslashreplace"))[:100]
            received = f"{one.received_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            typer.echo(f"{one.id}  {received}  {one.device_id or one.topic}  {one.reason}{mark}  {payload}")


@app.command()
def replay(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids, as `energy quarantine list` prints them.")] = None,
    *,
    device: Device = None,
    reason: Reason = None,
    metric: Metric = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that waits.")] = False,
) -> None:
    """Decode and keep it with today's registry and rules; what is refused again stays, and is printed with the reason.

    Exit code 1 when a store stopped answering on the way, or an id that was named does not wait.
    """
    selection = Selection(ids or None, device, reason, metric, _moment(since), _moment(until))
    if selection == Selection() and not everything:
        raise SettingsError("say which: ids, --device, --reason, --metric, --since, --until, or --all")
    settings = Settings.load()
    accepted = readings = refused = last = 0
    missing = set(ids or ())
    with _database(settings) as engine:
        store = open_telemetry_store(settings)
        try:
            while True:
                with Session(engine) as session:
                    waiting = quarantine.waiting(session, selection, after=last)
                missing.difference_update(waiting)
                done = quarantine.replay(settings, engine, store, waiting)
                for row_id, why in done.refused:
                    typer.echo(f"{row_id}  {why}")
                accepted, readings, refused = (
                    accepted + done.accepted,
                    readings + done.readings,
                    refused + len(done.refused),
                )
                last = done.last_id
                if done.stopped or len(waiting) < quarantine.MAX_REPLAYED:
                    break
        finally:
            store.close()
    typer.echo(f"{accepted} accepted with {readings} readings, {refused} refused again")
    if done.stopped:
        typer.echo(f"energy: {done.stopped}; the rest waits, run the command again", err=True)
    elif missing:
        typer.echo(f"energy: none of these ids waits: {', '.join(map(str, sorted(missing)))}; see `list`", err=True)
    if done.stopped or missing:
        raise typer.Exit(1)


@contextmanager
def _database(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings)
    try:
        yield engine
    except (OperationalError, StoreUnavailable) as error:
        said = error.orig if isinstance(error, OperationalError) else error
        reason = str(said).strip().splitlines()[0]
        raise SettingsError(f"a store does not answer: {reason}; is the platform running (`energy up`)?") from None
    except ReplayRunning as running:
        raise SettingsError(str(running)) from None
    finally:
        engine.dispose()


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no time; write it as 2026-02-12T10:00:00Z") from None
    if moment.tzinfo is None:
        raise SettingsError(f"{text!r} has no offset; write it as 2026-02-12T10:00:00Z or with +01:00")
    return moment
