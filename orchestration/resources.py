"""The Dagster resource that gives assets, ops and sensors the platform's stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import dagster as dg
from sqlmodel import Session

from orchestration.runs import WATCHED_TAG
from storage.liveness import show_alive
from storage.settings import Settings
from storage.stores import Stores, open_session, open_stores


class Platform(dg.ConfigurableResource):  # type: ignore[type-arg] # generic over a value it does not have here
    """Opens the stores of the settings for a run or a tick."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        """Hold the run's liveness lock from its first step to its last."""
        run = context.run
        if run is None or context.instance is None:  # a tick, not a run
            yield self
            return
        with show_alive(self.settings, run.run_id):
            context.instance.add_run_tags(run.run_id, {WATCHED_TAG: "yes"})
            yield self

    @property
    def settings(self) -> Settings:
        return Settings.load()

    @contextmanager
    def session(self) -> Iterator[Session]:
        with open_session(self.settings) as session:
            yield session

    @contextmanager
    def stores(self, run_id: str | None = None) -> Iterator[Stores]:
        with open_stores(self.settings, run_id) as stores:
            yield stores
