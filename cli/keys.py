"""`energy keys`: create, list and revoke API keys."""

from datetime import timedelta
from typing import Annotated, Literal

import typer

from cli.tenants import check_identifier, migrated_session
from storage.times import utc_now

# As in storage.access, which would load SQLAlchemy for `energy --help`.
Role = Literal["read", "operate", "admin"]

app = typer.Typer(
    help="Create, list and revoke API keys. As soon as one exists, the API refuses requests without a key.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who uses the key. The audit log shows this name.")],
    role: Annotated[
        Role,
        typer.Option(help="read: view only. operate: also change things. admin: also read the audit log."),
    ] = "read",
    tenant: Annotated[str | None, typer.Option(help="Restrict the key to one tenant. Default: all tenants.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Expire after so many days. Default: never.")
    ] = None,
) -> None:
    """Create a key and print it. It is shown only once: the platform stores nothing but its hash."""
    from storage import access

    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise typer.BadParameter("a name has 1 to 100 printable characters", param_hint="NAME")
    if tenant is not None:
        check_identifier(tenant, "--tenant")
    with migrated_session() as session:
        try:
            secret = access.create_key(session, name, role, tenant, timedelta(days=days) if days else None)
        except access.NameTaken as error:
            raise typer.BadParameter(str(error), param_hint="NAME") from None
        session.commit()
    print(secret)


@app.command(name="list")
def list_keys() -> None:
    """List all keys by name, with role, tenant and state."""
    from storage import access

    now = utc_now()
    with migrated_session() as session:
        keys = access.list_keys(session)
    print(f"{'NAME':24} {'ROLE':8} {'TENANT':16} {'CREATED':10}  STATE")
    for key in keys:
        expired = key.expires_at is not None and key.expires_at < now
        state = "revoked" if key.revoked_at else "expired" if expired else "valid"
        until = f" until {key.expires_at:%Y-%m-%d}" if key.expires_at and not expired else ""
        print(f"{key.name:24} {key.role:8} {key.tenant_id or '(all)':16} {key.created_at:%Y-%m-%d}  {state}{until}")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name, as `energy keys list` shows it.")]) -> None:
    """Revoke a key and end its sessions, at once and for good."""
    from storage import access

    with migrated_session() as session:
        before = next((key.revoked_at for key in access.list_keys(session) if key.name == name), None)
        if not access.revoke_key(session, name):
            raise typer.BadParameter(f"there is no key named {name!r}; `energy keys list` shows all", param_hint="NAME")
        session.commit()
    print(f"{name} was already revoked on {before:%Y-%m-%d}" if before else f"{name} is revoked")
