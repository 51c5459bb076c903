"""The app: one API that serves all six services of the handover at their paths."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from uuid import uuid4

from fastapi import FastAPI, Request, Response

from serving import alerts, analytics, devices, exports, files, health, maintenance, preview, reports, rules, telemetry
from serving.dagster import Dagster
from serving.errors import answer_with_problems
from storage.database import open_engine
from storage.objects import open_object_store
from storage.settings import Settings
from storage.telemetry import open_telemetry_store

ROUTERS = [
    module.router
    for module in (devices, telemetry, preview, rules, maintenance, alerts, exports, analytics, reports, files, health)
]


def create_app(settings: Settings) -> FastAPI:
    """The API on the stores that the settings name; they are opened when it starts."""

    @asynccontextmanager
    async def stores(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.engine = open_engine(settings, pool_size=20)
        app.state.telemetry = open_telemetry_store(settings)
        app.state.objects = open_object_store(settings)
        app.state.dagster = Dagster(settings)
        yield
        app.state.dagster.close()
        app.state.telemetry.close()
        app.state.engine.dispose()

    app = FastAPI(
        title="Energy platform",
        version=version("energy-platform"),
        description="Registry, telemetry, rules, alerts, exports, analyses and reports of a plant's machines.",
        lifespan=stores,
    )
    answer_with_problems(app)
    for router in ROUTERS:
        app.include_router(router)

    @app.middleware("http")
    async def _name_the_request(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.request_id = uuid4().hex
        response = await call_next(request)
        response.headers["X-Request-ID"] = request.state.request_id
        return response

    return app
