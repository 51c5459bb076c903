"""What ingestion knows of devices and rules: a copy of the registry that follows every change at once."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from ingest.rules import RuleSet
from storage import database
from storage.devices import Device, DeviceMetadata
from storage.rules import Rule
from storage.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What ingestion needs of a device; the default is one that nobody registered."""

    enrichment_status: str = "failed"
    tenant_id: str | None = None
    device_type: str | None = None
    location: str | None = None
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()


UNREGISTERED = DeviceFacts()


def facts_of(device: Device) -> DeviceFacts:
    metadata = DeviceMetadata.parse(device.metadata_json)
    deleted = device.deleted_at is not None
    return DeviceFacts(
        enrichment_status="skipped" if deleted else "success",
        tenant_id=device.tenant_id,
        device_type=None if deleted else device.device_type,
        location=None if deleted else device.location,
        limits=metadata.limits,
        bands=metadata.bands,
        ignore=frozenset(metadata.ignore),
    )


class Registry:
    """Devices and active rules, replaced as a whole when PostgreSQL says that either changed."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._devices: dict[str, DeviceFacts] = {}
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

    def facts(self, device_id: str) -> DeviceFacts:
        return self._devices.get(device_id, UNREGISTERED)

    def load(self) -> None:
        with Session(self._engine) as session:
            devices = {device.device_id: facts_of(device) for device in session.exec(select(Device))}
            active = select(Rule).where(col(Rule.status) == "active", col(Rule.deleted_at).is_(None))
            rules = RuleSet(session.exec(active).all())
        self._devices, self.rules = devices, rules

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                with database.connect(self._settings, autocommit=True) as connection:
                    connection.execute("LISTEN registry_changed")
                    self.load()  # what changed while nobody listened
                    while not self._stopping.is_set():
                        # One load serves all changes that came at once; the next ones wait in the socket meanwhile.
                        if any(True for _ in connection.notifies(timeout=0.5, stop_after=1)):
                            self.load()
            except Exception:
                log.exception("the registry cannot be followed; its last state is used, trying again in a second")
                self._stopping.wait(1)
