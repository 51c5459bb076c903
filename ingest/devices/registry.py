"""Ingestion's copy of the registry: devices with their maintenance windows, and rules. It follows changes at once."""

import logging
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine
from sqlmodel import Session

from ingest.devices.metric_names import MetricNames
from ingest.devices.profile import UNREGISTERED, DeviceProfile, Windows, profile_of
from storage.changes import registry_changes
from storage.devices import all_devices
from storage.loops import Loop
from storage.maintenance import all_windows
from storage.rules import Rule, active_rules, active_versions
from storage.settings import Settings

log = logging.getLogger(__name__)


class Registry:
    """The profiles of devices and the active rules; PostgreSQL announces what changed.

    `metric_names` bounds the metrics of each device. `rules` is another tuple after each change of a rule, and holds
    the same rows for rules that did not change.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.rules: tuple[Rule, ...] = ()
        self.metric_names = MetricNames(engine, settings.max_metrics_per_device)
        self._settings = settings
        self._engine = engine
        self._rows: dict[UUID, Rule] = {}
        self._versions: dict[UUID, datetime] = {}
        self._profiles: dict[str, DeviceProfile] = {}
        self._unregistered = UNREGISTERED
        self._is_current = True
        self.loop = Loop("registry")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="registry", daemon=True)

    def start(self) -> None:
        """Load everything, then follow changes.

        Raises:
            sqlalchemy.exc.OperationalError: the database does not answer.

        """
        self.load()
        self.loop.worked()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def profile(self, device_id: str) -> DeviceProfile:
        """A device's profile; its enrichment status is `timeout` while changes cannot be followed."""
        profile = self._profiles.get(device_id, self._unregistered)
        return profile if self._is_current else replace(profile, enrichment_status="timeout")

    def profiles(self) -> Mapping[str, DeviceProfile]:
        """The profiles of all devices that are registered, deleted, or have a maintenance window."""
        return self._profiles

    def load(self, *, devices: bool = True, rules: bool = True) -> None:
        """Read devices with their maintenance windows, rules, or both."""
        with Session(self._engine) as session:
            if devices:
                self._load_devices(session)
            if rules:
                self._load_rules(session)

    def _load_devices(self, session: Session) -> None:
        windows = Windows(all_windows(session))
        site = self._settings.zone
        profiles = {}
        for device in all_devices(session):
            own = windows.of(device.device_id, device.tenant_id)
            try:
                profiles[device.device_id] = profile_of(device, site, own)
            except Exception:  # one device that cannot be read must not keep the changes of all others away
                self.loop.skipped()
                log.exception("the metadata of %s cannot be read; it counts as not registered", device.device_id)
        self._unregistered = replace(UNREGISTERED, zone=site, windows=windows.of(None, None))
        for device_id in windows.devices.difference(profiles):
            profiles[device_id] = replace(self._unregistered, windows=windows.of(device_id, None))
        self._profiles = profiles

    def _load_rules(self, session: Session) -> None:
        """Read only new and edited rules: often one of thousands, while intake needs the processor."""
        versions = active_versions(session)
        rows = {rule_id: row for rule_id, row in self._rows.items() if versions.get(rule_id) == self._versions[rule_id]}
        edited = list(versions.keys() - rows.keys())
        if edited or len(rows) < len(self._rows):
            self._rows = rows | {row.rule_id: row for row in active_rules(session, edited)}
            self.rules = tuple(self._rows.values())
        self._versions = versions

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(registry_changes(self._settings)) as changes:
                    next(changes)
                    self.load()
                    self._is_current = True
                    for tables in changes:
                        self.loop.worked()
                        if self._stopping.is_set():
                            break
                        if tables:
                            self.load(devices=bool(tables - {"rules"}), rules="rules" in tables)
            except Exception as error:
                self._is_current = False
                self.loop.failed(error)
                log.exception("cannot follow changes of devices and rules; the last known ones stay in use")
                self._stopping.wait(1)
