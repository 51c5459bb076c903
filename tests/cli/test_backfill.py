import hashlib
import sys
from datetime import date
from pathlib import Path

import pytest
from sqlmodel import select
from typer.testing import CliRunner

from cli.main import app
from storage.catalogue import Dataset
from storage.dirty_days import DirtyDay
from storage.stores import Stores
from tests.support.plant import DAY_MINUTES, reading, store
from tests.support.servers import started, wait_until


def energy(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def hashes(stores: Stores) -> dict[str, str]:
    stores.session.rollback()
    return {d.key: d.sha256 for d in stores.session.exec(select(Dataset).where(Dataset.superseded_at == None))}  # noqa: E711


@pytest.mark.slow
def test_a_year_of_one_device(stores: Stores) -> None:
    """Two readings a day of 2025; the second time, of its last quarter, nothing changes."""
    first = (date(2025, 1, 1) - date(2026, 2, 12)).days * DAY_MINUTES
    store(stores, *(reading(first + 720 * i) for i in range(2 * 365)), reading(first, "D2"))
    command = ("backfill", "--to", "2025-12-31", "--device", "D1", "--from")
    code, out, _ = energy(*command, "2025-01-01")
    assert (code, out.split(";")[0]) == (0, "365 files written, 0 unchanged, 0 days without readings, 0 failed")
    once = hashes(stores)
    assert len(once) == 365
    code, out, _ = energy(*command, "2025-10-01")
    assert (code, out.split(";")[0]) == (0, "0 files written, 92 unchanged, 0 days without readings, 0 failed")
    assert hashes(stores) == once


def test_all_devices_and_days_without_readings(stores: Stores) -> None:
    store(stores, reading(0), reading(0, "D2"), reading(2 * DAY_MINUTES, "D2"))
    _, out, _ = energy("backfill", "--from", "2026-02-01", "--to", "2026-02-28")
    assert out.startswith("3 files written, 0 unchanged, 0 days without")
    _, out, _ = energy("backfill", "--from", "2026-02-11", "--to", "2026-02-12", "--device", "D1")
    assert out.startswith("0 files written, 1 unchanged, 1 days without")
    assert len(stores.session.exec(select(DirtyDay)).all()) == 3  # an empty day leaves no trace


def test_months_are_made_of_their_days(stores: Stores) -> None:
    store(stores, reading(0), reading(DAY_MINUTES), reading(20 * DAY_MINUTES))
    command = ("backfill", "--from", "2026-02-01", "--to", "2026-03-31", "--asset", "telemetry_monthly")
    assert energy(*command)[1].endswith("2 months written, 0 unchanged\n")
    assert energy(*command)[1].endswith("0 months written, 2 unchanged\n")
    months = stores.session.exec(select(Dataset).where(Dataset.kind == "month").order_by(Dataset.key)).all()
    assert [(m.key, m.rows) for m in months] == [
        ("datasets/D1/20260201_20260228.parquet", 2),
        ("datasets/D1/20260301_20260331.parquet", 1),
    ]


def test_an_open_month_is_not_merged(stores: Stores, open_day: date) -> None:
    store(stores, reading((open_day - date(2026, 2, 12)).days * DAY_MINUTES))
    _, out, err = energy("backfill", "--from", f"{open_day}", "--to", f"{open_day}", "--asset", "telemetry_monthly")
    assert out.endswith("0 months written, 0 unchanged\n")
    assert f"{open_day:%Y-%m} is still open and was not merged" in err
    assert not stores.session.exec(select(Dataset).where(Dataset.kind == "month")).all()


def test_a_log_tells_window_by_window_how_far_it_is(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_EXPORT_WINDOW_HOURS", "72")
    store(stores, *(reading(DAY_MINUTES * day) for day in range(5)))
    _, _, err = energy("backfill", "--from", "2026-02-12", "--to", "2026-02-16", "--device", "D1")
    assert [line for line in err.splitlines() if "so far" in line] == [
        "2026-02-12 to 2026-02-14: 3 files written, 0 unchanged, 0 failed so far",
        "2026-02-15 to 2026-02-16: 5 files written, 0 unchanged, 0 failed so far",
    ]


def test_days_without_any_telemetry(stores: Stores) -> None:
    code, out, err = energy("backfill", "--from", "2025-02-01", "--to", "2025-02-28")
    assert (code, out.split(",")[0]) == (0, "0 files written")
    assert "there is no telemetry from 2025-02-01 to 2025-02-28" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--from", "2026-02-12", "--to", "2026-02-11"), "is after"),
        (("--from", "2019-02-12", "--to", "2026-02-11"), "is before DATASET_START_DATE=2020-01-01; set that variable"),
        (("--from", "2026-02-12", "--to", "2126-02-12"), "in the future"),
        (("--from", "2026-02-12", "--to", "2026-02-12", "--device", "nobody"), "device nobody is not registered"),
        (("--from", "2026-13-01", "--to", "2026-12-31"), "'2026-13-01' is not a day; write it as"),
        (("--from", "yesterday", "--to", "2126-02-12"), "'yesterday' is not a day; write"),
    ],
)
def test_what_cannot_be_asked_for(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.setenv("DATASET_START_DATE", "2020-01-01")
    code, _, err = energy("backfill", *arguments)
    assert code == 2
    assert complaint in " ".join(err.replace("│", " ").split())


@pytest.mark.slow
def test_two_at_once_and_one_is_killed(stores: Stores, tmp_path: Path) -> None:
    """Whatever the two do to each other: every file is whole, and is the one that the catalogue tells of."""
    store(stores, *(reading(1440 * d + m) for d in range(60) for m in range(0, 1440, 60)))
    command = [sys.executable, "-m", "cli.main", "backfill", "--from", "2026-02-12", "--to", "2026-04-12"]

    def files() -> int:
        stores.session.rollback()
        return len(stores.session.exec(select(Dataset.id)).all())

    with (
        started(command, lambda: files() > 3, tmp_path / "killed.log") as killed,
        started(command, lambda: True, tmp_path / "other.log") as other,
    ):
        wait_until(lambda: files() > 10, "both are at work")
        killed.kill()
        assert other.wait(120) == 0
    assert energy(*command[3:])[1].startswith("0 files written, 60 unchanged")
    stores.session.rollback()
    made = stores.session.exec(select(Dataset)).all()
    assert len(made) == 60
    assert {hashlib.sha256(stores.objects.get(d.key)).hexdigest() == d.sha256 for d in made} == {True}
    assert {o.key for o in stores.objects.list("datasets")} == {d.key for d in made}
    assert not stores.session.exec(select(DirtyDay).where(DirtyDay.dirty_from != None)).all()  # noqa: E711
    assert not stores.session.exec(select(DirtyDay).where(DirtyDay.claimed_at != None)).all()  # noqa: E711
