"""What is in a home is its owner's alone, and servers that are not ours learn no secret."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.local import home, postgres
from cli.local.services import services_of
from storage.objects import LocalObjects
from storage.settings import Settings, SettingsError


def test_a_home_of_an_earlier_release_is_closed_to_others(tmp_path: Path) -> None:
    for name in ("objects/datasets/D1", "logs", "dagster/logs", "postgres/data"):
        (tmp_path / name).mkdir(parents=True)
    files = [tmp_path / name for name in ("lock", "state.json", "objects/datasets/D1/a.parquet", "dagster/logs/run")]
    for file in files:
        file.write_text("x")
        file.chmod(0o644)
    (tmp_path / "postgres").chmod(0o755)
    (tmp_path / "dagster" / "link").symlink_to("/etc/passwd")
    home.make(tmp_path)
    assert tmp_path.stat().st_mode & 0o066 == 0
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    folders = [path for path in tmp_path.rglob("*") if path.is_dir() and "postgres" not in path.parts]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
    assert (tmp_path / "postgres").stat().st_mode & 0o777 == 0o755  # PostgreSQL's own affair


def test_what_commands_and_their_children_write_is_private(tmp_path: Path) -> None:
    code = (
        "from cli.local.home import keep_private; keep_private()\n"
        "from pathlib import Path; from storage.objects import LocalObjects\n"
        f"LocalObjects(Path({str(tmp_path / 'objects')!r}), Path('secret')).put('datasets/D1/x.parquet', b'x')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    paths = list((tmp_path / "objects").rglob("*"))
    assert {path.stat().st_mode & 0o077 for path in [tmp_path / "objects", *paths]} == {0}
    LocalObjects(tmp_path / "others", tmp_path / "secret")
    assert (tmp_path / "others").stat().st_mode & 0o777 == 0o700


def test_servers_that_are_not_ours_inherit_no_secrets(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their user, which may be another one than ours, can read the environment that they were started with."""
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("ENERGY_ADMIN_KEY", "a-secret-of-the-platform")
    monkeypatch.setattr(postgres, "prepare", lambda _: postgres.PostgresServer(["postgres"]))
    home.make(settings.energy_home)
    starts = {service.name: service.prepare for service in services_of(Settings.load(), 1)}
    assert {name for name in ("postgres", "broker", "ingest", "api") if starts[name]().is_ours} == {"ingest", "api"}
    assert "PATH" in postgres.without_secrets()
    assert "a-secret-of-the-platform" not in postgres.without_secrets().values()


def test_useradd_is_found_where_path_does_not_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `su` without a dash."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(postgres, "SERVER_USER", "energy-nobody-has-this-name")
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> None:
        ran.append(command)
        raise OSError("not in a test")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SettingsError, match="not in a test"):
        postgres._server_user()
    assert Path(ran[0][0]).is_absolute() or not Path("/usr/sbin/useradd").exists()
