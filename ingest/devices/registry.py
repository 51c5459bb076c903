"""What ingestion knows of devices, rules and maintenance: a copy of the registry that follows every change at once."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from ingest.devices.profile import UNREGISTERED, DeviceProfile, Windows, profile_of
from ingest.rules.evaluate import ActiveRule, RuleSet
from storage import database
from storage.devices import Device
from storage.maintenance import MaintenanceWindow
from storage.rules import Rule
from storage.settings import Settings

log = logging.getLogger(__name__)

# How often the connection that brings changes is asked whether it lives, and how long it may take to say so.
ALIVE_SECONDS = 5
RULES_AT_ONCE = 1000


class Registry:
    """Devices and active rules, of which PostgreSQL says what changed."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._devices: dict[str, DeviceProfile] = {}
        self._unregistered = UNREGISTERED
        self._is_current = True
        self.rules = RuleSet([])
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="registry", daemon=True)

    def start(self) -> None:
        """Load, and follow changes from then on.

        Raises:
            sqlalchemy.exc.OperationalError: the database does not answer.

        """
        self.load()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def facts(self, device_id: str) -> DeviceProfile:
        """Of a device, as last known; its enrichment is a `timeout` while changes cannot be followed."""
        facts = self._devices.get(device_id, self._unregistered)
        return facts if self._is_current else replace(facts, enrichment_status="timeout")

    def devices(self) -> Mapping[str, DeviceProfile]:
        """Every device that is registered, deleted, or has a maintenance window."""
        return self._devices

    def load(self, *, devices: bool = True, rules: bool = True) -> None:
        """Read what changed: devices with their maintenance windows, or the rules."""
        with Session(self._engine) as session:
            if devices:
                self._load_devices(session)
            if rules:
                self.rules = self._load_rules(session)

    def _load_rules(self, session: Session) -> RuleSet:
        """Only what is new or edited is read: that is one rule of thousands, while intake wants the processor."""
        is_active = (col(Rule.status) == "active", col(Rule.deleted_at).is_(None))
        versions = dict(session.exec(select(Rule.rule_id, Rule.updated_at).where(*is_active)).all())
        kept = {rule.rule_id: rule for rule in self.rules.active if versions.get(rule.rule_id) == rule.version}
        edited = [rule_id for rule_id in versions if rule_id not in kept]
        for i in range(0, len(edited), RULES_AT_ONCE):
            some = col(Rule.rule_id).in_(edited[i : i + RULES_AT_ONCE])
            kept |= {row.rule_id: ActiveRule.of(row) for row in session.exec(select(Rule).where(*is_active, some))}
        return RuleSet(list(kept.values()))

    def _load_devices(self, session: Session) -> None:
        windows = Windows(session.exec(select(MaintenanceWindow)))
        site = self._settings.zone
        found = {
            device.device_id: profile_of(device, site, windows.of(device.device_id, device.tenant_id))
            for device in session.exec(select(Device))
        }
        self._unregistered = replace(UNREGISTERED, zone=site, windows=windows.of(None, None))
        for device_id in windows.devices.difference(found):
            found[device_id] = replace(self._unregistered, windows=windows.of(device_id, None))
        self._devices = found

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                with database.connect(self._settings, autocommit=True, answer_timeout=ALIVE_SECONDS) as connection:
                    connection.execute("LISTEN registry_changed")
                    self.load()  # what changed while nobody listened
                    self._is_current = True
                    while not self._stopping.is_set():
                        # One load serves all changes that came at once; the next ones wait in the socket meanwhile.
                        changed = {notice.payload for notice in connection.notifies(timeout=0.5, stop_after=1)}
                        if changed:
                            self.load(devices=bool(changed - {"rules"}), rules="rules" in changed)
                        else:
                            connection.execute("SELECT 1")
            except Exception:
                self._is_current = False
                log.exception("the registry cannot be followed; its last state is used, trying again in a second")
                self._stopping.wait(1)
