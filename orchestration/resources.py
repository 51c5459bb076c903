"""What assets, ops and sensors work with: the platform's stores, opened by the settings."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlmodel import Session

from assets.datasets import Workshop
from storage.database import open_engine
from storage.objects import open_object_store
from storage.settings import Settings
from storage.telemetry import open_telemetry_store


class Platform(dg.ConfigurableResource):  # type: ignore[type-arg] # generic over a value it does not have here
    """Opens the stores for as long as a run or a tick needs them."""

    @property
    def settings(self) -> Settings:
        return Settings.load()

    @contextmanager
    def session(self) -> Iterator[Session]:
        engine = open_engine(self.settings, pool_size=2)
        try:
            with Session(engine, expire_on_commit=False) as session:
                yield session
        finally:
            engine.dispose()

    @contextmanager
    def workshop(self, run_id: str | None = None) -> Iterator[Workshop]:
        settings = self.settings
        telemetry = open_telemetry_store(settings)
        try:
            with self.session() as session:
                yield Workshop(
                    session,
                    telemetry,
                    open_object_store(settings),
                    settings.zone,
                    run_id,
                    settings.export_batch_size,
                    settings.thresholds,
                )
        finally:
            telemetry.close()
