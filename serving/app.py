"""The app: one API that serves all six services of the handover at their paths, and under the gateway's prefixes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI

from assets.datasets.column_cache import ColumnCache
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from serving import health
from serving.alerts import routes as alerts
from serving.analytics import routes as analytics
from serving.auth import routes as session
from serving.auth.principal import authenticate
from serving.devices import routes as devices
from serving.exports import routes as exports
from serving.files import routes as files
from serving.http import docs_page, metrics
from serving.http.description import describe
from serving.http.errors import answer_with_problems
from serving.http.gateway import Gateway, expect_json
from serving.http.rate_limits import Limits
from serving.jobs.dagster import Dagster
from serving.live import routes as live
from serving.maintenance import routes as maintenance
from serving.quarantine import routes as quarantine
from serving.reports import routes as reports
from serving.rules import preview, routes as rules
from serving.settings import ApiSettings
from serving.telemetry import routes as telemetry
from storage.database import PATIENCE, open_engine
from storage.objects import open_object_store
from storage.settings import Settings
from storage.stores import open_telemetry_store

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
    api_settings = ApiSettings.load()
    outbox = Outbox(NotifySettings.load())

    @asynccontextmanager
    async def stores(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.api_settings = api_settings
        app.state.outbox = outbox
        app.state.limits = Limits(api_settings.api_rate_limit)
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
        dependencies=[Depends(authenticate), Depends(expect_json)],
    )
    answer_with_problems(app, ROUTERS)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Gateway, max_body=int(api_settings.api_max_body_mb * 1_000_000))
    describe(app, ROUTERS)
    docs_page.show(app)
    metrics.measure(app)
    return app
