"""`energy tenants`: reserve device ids for tenants, by prefix."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from storage.settings import Settings

if TYPE_CHECKING:
    from sqlmodel import Session

app = typer.Typer(
    help="Reserve device ids for tenants, by prefix. A tenant is a name that keys and devices carry.",
    no_args_is_help=True,
)


@app.command()
def grant(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    prefix: Annotated[str, typer.Argument(help="What the device ids begin with, such as acme- or PRESS_.")],
) -> None:
    """Let only this tenant register ids with a prefix, also ids that have sent telemetry before.

    Devices that are registered stay as they are.
    """
    from storage import grants

    check_identifier(tenant, "TENANT")
    check_identifier(prefix, "PREFIX")
    with migrated_session() as session:
        try:
            is_new = grants.grant(session, tenant, prefix)
        except grants.PrefixTaken as error:
            raise typer.BadParameter(str(error), param_hint="PREFIX") from None
        session.commit()
    print(f"{prefix} is granted to {tenant}" + ("" if is_new else " already"))


@app.command(name="list")
def list_grants() -> None:
    """List all prefixes by tenant."""
    from storage import grants

    with migrated_session() as session:
        rows = grants.granted_prefixes(session)
    print(f"{'TENANT':24} {'PREFIX':24} GRANTED")
    for row in rows:
        print(f"{row.tenant_id:24} {row.prefix:24} {row.created_at:%Y-%m-%d}")


@app.command()
def revoke(prefix: Annotated[str, typer.Argument(help="The prefix, as `energy tenants list` shows it.")]) -> None:
    """End a grant. Devices that were registered stay the tenant's."""
    from storage import grants

    with migrated_session() as session:
        if not grants.revoke(session, prefix):
            raise typer.BadParameter(f"{prefix!r} is not granted; `energy tenants list` shows all", param_hint="PREFIX")
        session.commit()
    print(f"{prefix} is not granted any more")


def check_identifier(value: str, parameter: str) -> None:
    """Check that a tenant's name, or a prefix of device ids, is one that the API takes too.

    Raises:
        typer.BadParameter: It is not.

    """
    from storage.devices import IDENTIFIER, MAX_IDENTIFIER

    if len(value) > MAX_IDENTIFIER or not re.fullmatch(IDENTIFIER, value):
        raise typer.BadParameter(
            f"{value!r} is not valid; use 1 to {MAX_IDENTIFIER} letters, digits, _ . -, the first a letter or digit",
            param_hint=parameter,
        )


@contextmanager
def migrated_session() -> "Iterator[Session]":
    """A session on a migrated database: keys and grants may be made before the platform ever ran."""
    from storage.database import migrate
    from storage.stores import open_session

    settings = Settings.load()
    migrate(settings)
    with open_session(settings) as session:
        yield session
