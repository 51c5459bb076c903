"""`energy keys`: who may use the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import typer
from sqlmodel import Session, select

from storage import access
from storage.access import ApiKey, NameTaken, Role
from storage.database import migrate, open_engine
from storage.settings import Settings
from storage.times import utc_now

app = typer.Typer(help="API keys: once there is one, nobody is let in without.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is; it stands in the book of changes")],
    role: Annotated[
        Role, typer.Option(help="read: look; operate: change things, too; admin: also see the book")
    ] = "read",
    tenant: Annotated[str | None, typer.Option(help="See this tenant only; without it, all")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it ends; without it, never")] = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise typer.BadParameter("a name has 1 to 100 printable characters", param_hint="NAME")
    if tenant is not None and not 1 <= len(tenant) <= 50:
        raise typer.BadParameter("a tenant's name has 1 to 50 characters", param_hint="--tenant")
    with _session() as session:
        try:
            secret = access.create_key(session, name, role, tenant, timedelta(days=days) if days else None)
        except NameTaken as error:
            raise typer.BadParameter(str(error), param_hint="NAME") from None
    print(secret)


@app.command(name="list")
def list_keys() -> None:
    """The keys by name."""
    now = utc_now()
    with _session() as session:
        keys = session.exec(select(ApiKey).order_by(ApiKey.name)).all()
    print(f"{'name':24} {'role':8} {'tenant':16} {'made':10}  state")
    for key in keys:
        ended = key.expires_at is not None and key.expires_at < now
        state = "revoked" if key.revoked_at else "expired" if ended else "valid"
        until = f" until {key.expires_at:%Y-%m-%d}" if key.expires_at and not ended else ""
        print(f"{key.name:24} {key.role:8} {key.tenant_id or '(all)':16} {key.created_at:%Y-%m-%d}  {state}{until}")


@app.command()
def revoke(name: str) -> None:
    """End a key and its sessions at once."""
    with _session() as session:
        if not access.revoke_key(session, name):
            raise typer.BadParameter(f"there is no key named {name!r}; `energy keys list` shows them")
    print(f"{name} is revoked")


@contextmanager
def _session() -> Iterator[Session]:
    settings = Settings.load()
    migrate(settings)
    engine = open_engine(settings, pool_size=1)
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()
