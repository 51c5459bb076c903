"""The app: one API for all six services, at their paths and under the gateway's prefixes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI

from assets.datasets import ColumnCache, DatasetReplaced, FigureCache
from assets.energy import SiteSettings
from ingest.notify import NotifySettings, Outbox
from serving import health
from serving.alerts import evidence, routes as alerts, summary
from serving.analytics import feedback, fleet, routes as analytics
from serving.auth import routes as auth
from serving.auth.identified import identify
from serving.auth.principal import SECURITY_SCHEMES, Limits, required_role
from serving.channels import routes as channels
from serving.corrections import routes as corrections
from serving.devices import routes as devices
from serving.exports import routes as exports, waiting
from serving.failures import routes as failures
from serving.files import routes as files
from serving.http import docs_page, metrics
from serving.http.description import describe
from serving.http.errors import answer_with_problems
from serving.http.gateway import Gateway, expect_json
from serving.http.slots import FairSlots
from serving.jobs.dagster import Dagster
from serving.jobs.launcher import Launcher
from serving.keys import routes as keys
from serving.live import routes as live
from serving.live.broker import check_broker
from serving.live.metrics import LiveMetrics
from serving.maintenance import routes as maintenance
from serving.pages import routes as pages, static_files
from serving.pages.render import problem_page
from serving.quarantine import routes as quarantine
from serving.reports import routes as reports, schedules
from serving.rules import preview, routes as rules
from serving.settings import ApiSettings
from serving.telemetry import completeness, energy, routes as telemetry, states, sums
from serving.usage import routes as usage
from storage.database import ANSWER_TIMEOUT_SECONDS, check_database, open_engine
from storage.objects import ObjectStoreUnavailable, open_object_store
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.telemetry import StoreUnavailable

SERVICES = ("device", "data", "rule-engine", "analytics", "data-export", "reporting")
COLUMN_CACHE_BYTES = 128 * 1024 * 1024
# Reads of telemetry at once. More would only take turns at the interpreter and make each twice as expensive; but a
# tenant's first read does not wait for others' reads. A store that does not answer cannot use up all 40 threads.
SHARED_READS, MAX_READS = 4, 16
TAGS = {
    "devices": "The registry of machines.",
    "telemetry": "Readings, aggregates and statistics, the same for open and exported days.",
    "corrections": "What is said about wrong readings: previewed, listed, undone. The readings stay.",
    "failures": "When devices failed: what failure prediction learns from.",
    "rules": "What is watched, and evaluation on demand.",
    "alerts": "Alerts that rules raised, and their acknowledgement and notifications.",
    "maintenance": "Times in which devices raise no alerts, and the alerts that were suppressed.",
    "exports": "Datasets on demand: a device's days as Parquet files.",
    "analytics": "Models, datasets, jobs and their results.",
    "reports": "Reports as PDF, Excel or JSON, on demand or by a schedule.",
    "files": "Downloads by signed links.",
    "access": "Sessions, tickets and the audit log.",
    "health": "Whether the platform lives and its parts answer.",
}
# `preview` stands before `rules`, whose PUT /{rule_id} would take its path, and `summary` before `alerts`; the pages
# before the API's answer at /.
ROUTERS = pages.ROUTERS + [
    module.router
    for module in (
        devices,
        corrections,
        failures,
        telemetry,
        energy,
        sums,
        states,
        completeness,
        preview,
        rules,
        maintenance,
        summary,
        alerts,
        evidence,
        channels,
        exports,
        waiting,
        analytics,
        feedback,
        fleet,
        reports,
        schedules,
        files,
        auth,
        keys,
        usage,
        health,
        live,
        quarantine,
    )
]
# One for all apps of a process: FastAPI works out what each route needs at its first request, which takes a while.
API = APIRouter(dependencies=[Depends(identify), Depends(expect_json)])
for _router in ROUTERS:
    API.include_router(_router)


def create_app(settings: Settings) -> FastAPI:
    """The API on the stores that the settings name; they are opened when it starts."""
    api_settings = ApiSettings.load()
    notify, site = NotifySettings.load(), SiteSettings.load()

    @asynccontextmanager
    async def stores(app: FastAPI) -> AsyncIterator[None]:
        state = app.state
        state.settings = settings
        state.api_settings = api_settings
        state.notify = notify
        state.outbox = Outbox(notify)
        state.site = site
        state.limits = Limits(api_settings.api_rate_limit)
        state.engine = open_engine(settings, pool_size=20, answer_timeout=ANSWER_TIMEOUT_SECONDS)
        # Reads need no transaction; BEGIN and ROLLBACK would each cost a round trip.
        state.reading = state.engine.execution_options(isolation_level="AUTOCOMMIT")
        state.telemetry = open_telemetry_store(settings)
        state.objects = open_object_store(settings)
        state.read_slots = FairSlots(SHARED_READS, MAX_READS)
        state.columns = ColumnCache(COLUMN_CACHE_BYTES)
        state.figures = FigureCache()
        state.recent = {}
        state.dagster = Dagster(settings)
        state.launcher = Launcher(state.engine, state.dagster)
        state.readiness = health.Readiness(
            {
                "database": lambda: check_database(state.engine),
                "telemetry_store": state.telemetry.check,
                "object_store": state.objects.check,
                "broker": lambda: check_broker(settings, health.TIMEOUT_SECONDS),
                "dagster": state.dagster.check,
                "live_stream": lambda: state.hub.check(),  # noqa: PLW0108 - the hub is opened later
            }
        )
        async with API.lifespan_context(app):
            yield
        state.launcher.close()
        state.dagster.close()
        state.telemetry.close()
        state.engine.dispose()

    app = FastAPI(
        title="Energy platform",
        version=version("energy-platform"),
        description="Registry, telemetry, rules, alerts, exports, analyses and reports of a plant's machines.",
        lifespan=stores,
        docs_url=None,
        redoc_url=None,
        routes=API.routes,
    )
    answer_with_problems(app, ROUTERS, [StoreUnavailable, ObjectStoreUnavailable, DatasetReplaced])
    prefixes = [f"/backend/{service}" for service in SERVICES]
    app.add_middleware(Gateway, prefixes=prefixes, max_body=int(api_settings.api_max_body_mb * 1_000_000))
    describe(app, ROUTERS, tags=TAGS, security_schemes=SECURITY_SCHEMES, required_role=required_role)
    docs_page.show(app)
    static_files.serve(app)
    app.state.show_problem = problem_page
    metrics.measure(app, [LiveMetrics(lambda: getattr(app.state, "hub", None))])
    return app
