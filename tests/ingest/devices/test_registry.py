from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session

from ingest.devices.registry import Registry
from storage.devices import Device
from storage.maintenance import MaintenanceWindow
from storage.rules import Rule
from storage.settings import Settings
from storage.times import microseconds, utc_now
from tests.support.servers import wait_until


def saved(session: Session, row: Any) -> Any:
    session.add(row)
    session.commit()
    session.refresh(row)
    return row


def device(name: str, **more: Any) -> Device:
    return Device(device_id=name, device_name="n", device_type="t", **more)


def test_changes_are_followed_within_a_second(registry: Registry, session: Session) -> None:
    def soon(condition: Any, what: str) -> None:
        wait_until(condition, what, seconds=1)

    wait_until(lambda: listening(session), "the registry listens")
    assert registry.profile("D1").enrichment_status == "failed"
    row = saved(session, device("D1"))
    soon(lambda: registry.profile("D1").enrichment_status == "success", "a device is known")
    rule = saved(session, Rule(rule_name="r", scope="all_devices", property="power", condition=">", threshold=1.0))
    soon(lambda: [r.threshold for r in registry.rules] == [1.0], "a rule is active")
    rule.threshold, rule.updated_at = 2.0, utc_now()
    saved(session, rule)
    soon(lambda: [r.threshold for r in registry.rules] == [2.0], "a rule is changed")
    rule.status, rule.updated_at = "paused", utc_now()
    saved(session, rule)
    soon(lambda: registry.rules == (), "a rule is paused")
    row.status = "maintenance"
    saved(session, row)
    soon(lambda: registry.profile("D1").in_maintenance(0), "a device is in maintenance")
    row.status, row.deleted_at = "active", utc_now()
    saved(session, row)
    soon(lambda: registry.profile("D1").enrichment_status == "skipped", "a device is deleted")
    now = utc_now()
    window = saved(session, MaintenanceWindow(device_id="D2", starts_at=now, ends_at=now + timedelta(hours=1)))
    soon(lambda: registry.profile("D2").in_maintenance(microseconds(now)), "a window is planned")
    assert not registry.profile("D3").in_maintenance(microseconds(now))
    session.delete(window)
    session.commit()
    soon(lambda: not registry.profile("D2").in_maintenance(microseconds(now)), "a window is called off")


def listening(session: Session) -> bool:
    asked = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT 1'")
    session.rollback()  # what a transaction sees of activity stays as it was
    return bool(session.execute(asked).scalar())


def test_windows_cover_a_device_a_tenant_or_all(settings: Settings, engine: Engine, session: Session) -> None:
    now = utc_now()
    hours = [(now + timedelta(hours=i), now + timedelta(hours=i + 1)) for i in range(3)]
    scopes: tuple[tuple[str | None, str | None], ...] = (("D1", None), (None, "a"), (None, None))
    for (start, end), (device_id, tenant_id) in zip(hours, scopes, strict=True):
        session.add(MaintenanceWindow(starts_at=start, ends_at=end, device_id=device_id, tenant_id=tenant_id))
    session.add_all([device("D1"), device("D2", tenant_id="a"), device("D3", tenant_id="b")])
    session.commit()
    registry = Registry(settings, engine)
    registry.load()
    covered = {
        name: [i for i, (start, _) in enumerate(hours) if registry.profile(name).in_maintenance(microseconds(start))]
        for name in ("D1", "D2", "D3", "unregistered")
    }
    assert covered == {"D1": [0, 2], "D2": [1, 2], "D3": [2], "unregistered": [2]}
    over = microseconds(hours[2][1])
    assert not registry.profile("D3").in_maintenance(over)
    assert registry.profile("D3").in_maintenance(over - 1)


def test_a_registry_that_cannot_be_followed_says_so_in_what_it_enriches(
    settings: Settings, engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(session, device("D1", location="Hall 1"))
    registry = Registry(settings, engine)
    registry.start()
    try:
        wait_until(lambda: listening(session), "the registry listens")
        assert registry.profile("D1").enrichment_status == "success"
        monkeypatch.setattr("storage.database.connect", refuse)
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query = 'SELECT 1' AND pid <> pg_backend_pid()"
            )
        )
        session.commit()
        wait_until(lambda: registry.profile("D1").enrichment_status == "timeout", "the loss is noticed")
        assert (registry.profile("D1").location, registry.profile("D9").enrichment_status) == ("Hall 1", "timeout")
        monkeypatch.undo()
        wait_until(lambda: registry.profile("D1").enrichment_status == "success", "it follows again")
    finally:
        registry.stop()


def refuse(*_: Any, **__: Any) -> None:
    raise OSError("the network is down")
