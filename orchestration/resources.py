"""What assets, ops and sensors work with: the platform's stores, opened by the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import dagster as dg
from sqlmodel import Session

from assets.datasets.export import Workshop
from storage.database import open_engine
from storage.liveness import living
from storage.objects import open_object_store
from storage.settings import Settings
from storage.stores import open_telemetry_store

# Runs whose process can be told to be gone (sensor `end_dead_runs`).
WATCHED_TAG = "energy/watched"


class Platform(dg.ConfigurableResource):  # type: ignore[type-arg] # generic over a value it does not have here
    """Opens the stores for as long as a run or a tick needs them."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        """A run shows that it lives, from its first step to its last."""
        run = context.run
        if run is None or context.instance is None:  # a tick
            yield self
            return
        with living(self.settings, run.run_id):
            context.instance.add_run_tags(run.run_id, {WATCHED_TAG: "yes"})
            yield self

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
