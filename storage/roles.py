"""The login with which the platform works in PostgreSQL: it reads and writes rows, and is not a superuser.

It adds rows to the audit log, and cannot change or delete them.

Migrations have the owner's login. The platform's owns only what it makes itself: the partitions of the telemetry, and
the schema of Dagster's tables.
"""

import secrets

from psycopg import sql
from sqlalchemy import Connection, text

from storage.settings import APP_ROLE, Settings, read_settings

# A change of the owner locks the table, also if nothing changes, and commands migrate beside a running platform.
_NOT_YET_OWNED = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE pg_get_userbyid(c.relowner) <> :role
  AND (c.oid = 'device_telemetry'::regclass
       OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'device_telemetry'::regclass)
       OR c.relnamespace = 'dagster'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm'))
"""
_GRANTS = (
    f"GRANT USAGE, CREATE ON SCHEMA public TO {APP_ROLE}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APP_ROLE}",
    f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {APP_ROLE}",
    f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {APP_ROLE}",
    f"REVOKE UPDATE, DELETE ON audit_log FROM {APP_ROLE}",
    f"ALTER SCHEMA dagster OWNER TO {APP_ROLE}",
)


def make_app_role(connection: Connection, settings: Settings) -> str | None:
    """Create the platform's login, or renew its password and rights; the password, if the home keeps it.

    Another database than the embedded one gets it if POSTGRES_APP_PASSWORD is set; otherwise its logins are its
    operator's affair.
    """
    given, file = settings.postgres_app_password, settings.app_password_file
    if given is not None:
        password = given.get_secret_value()
    elif not settings.embeds_postgres:
        return None
    else:
        password = file.read_text() if file.exists() else secrets.token_urlsafe(24)
    if connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": APP_ROLE}).first() is None:
        connection.exec_driver_sql(f"CREATE ROLE {APP_ROLE}")
    login = sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION PASSWORD {}")
    connection.exec_driver_sql(login.format(sql.Identifier(APP_ROLE), sql.Literal(password)).as_string())
    for grant in _GRANTS:
        connection.exec_driver_sql(grant)
    for table in connection.execute(text(_NOT_YET_OWNED), {"role": APP_ROLE}).scalars().all():
        connection.exec_driver_sql(f"ALTER TABLE {table} OWNER TO {APP_ROLE}")
    return password if settings.embeds_postgres else None


def keep_app_password(settings: Settings, password: str) -> None:
    """Keep the password in the home; from then on this login is used."""
    file = settings.app_password_file
    new = file.with_name(f"{file.name}.new")
    new.touch(mode=0o600)
    new.write_text(password)
    new.replace(file)
    read_settings.cache_clear()
