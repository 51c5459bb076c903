"""The app: one API that serves all six services of the handover at their paths, and under the gateway's prefixes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI

from assets.column_cache import ColumnCache
from serving import (
    alerts,
    analytics,
    devices,
    docs_page,
    exports,
    files,
    health,
    live,
    maintenance,
    metrics,
    preview,
    quarantine,
    reports,
    rules,
    session,
    telemetry,
)
from serving.dagster import Dagster
from serving.description import describe
from serving.errors import answer_with_problems
from serving.gateway import Gateway, expect_json
from serving.identity import identify
from serving.limits import Limits
from storage.database import PATIENCE, open_engine
from storage.objects import open_object_store
from storage.settings import Settings
from storage.telemetry_stores import open_telemetry_store

CACHED_BYTES = 128 * 1024 * 1024

ROUTERS = [
    module.router
    for module in (
        devices,
        telemetry,
        preview,
        rules,
        maintenance,
        alerts,
        exports,
        analytics,
        reports,
        files,
        session,
        health,
        live,
        metrics,
        quarantine,
    )
]


def create_app(settings: Settings) -> FastAPI:
    """The API on the stores that the settings name; they are opened when it starts."""

    @asynccontextmanager
    async def stores(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.limits = Limits(settings.api_rate_limit)
        app.state.engine = open_engine(settings, pool_size=20, patience=PATIENCE)
        # Reads need no transaction: BEGIN and ROLLBACK would cost each a round trip.
        app.state.reading = app.state.engine.execution_options(isolation_level="AUTOCOMMIT")
        app.state.telemetry = open_telemetry_store(settings)
        app.state.objects = open_object_store(settings)
        app.state.columns = ColumnCache(CACHED_BYTES)
        app.state.dagster = Dagster(settings)
        app.state.readiness = health.Readiness.of(app.state)
        yield
        app.state.dagster.close()
        app.state.telemetry.close()
        app.state.engine.dispose()

    app = FastAPI(
        title="Energy platform",
        version=version("energy-platform"),
        description="Registry, telemetry, rules, alerts, exports, analyses and reports of a plant's machines.",
        lifespan=stores,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(identify), Depends(expect_json)],
    )
    answer_with_problems(app, ROUTERS)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Gateway, max_body=int(settings.api_max_body_mb * 1_000_000))
    describe(app, ROUTERS)
    docs_page.show(app)
    metrics.measure(app)
    return app
