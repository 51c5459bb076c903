"""What the API says of itself to Prometheus: `GET /metrics`."""

import time
from collections.abc import Iterator

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.live.hub import Hub

LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Requests by route and status, their duration, and the live stream, since this process started."""
    return Response(generate_latest(request.app.state.metrics), media_type=CONTENT_TYPE_LATEST)


def measure(app: FastAPI) -> None:
    """Count every request of the app, those too that no route answers."""
    app.state.metrics = registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_LiveStream(app))
    app.add_middleware(_Meter, registry=registry)


class _Meter:
    """Outermost, and plain ASGI: answers stream through it. WebSockets have counts of their own."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "energy_api_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "energy_api_request_seconds", "Until the answer is sent", ["route"], buckets=LATENCY, registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            # The route's template, not the path: what clients make up must not become labels without end.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._requests.labels(method, route, str(status)).inc()
            self._seconds.labels(route).observe(time.perf_counter() - began)


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class _LiveStream(Collector):
    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        hub: Hub | None = getattr(self._app.state, "hub", None)
        if hub is None:
            return  # registered before the app has started
        yield GaugeMetricFamily("energy_api_live_clients", "WebSockets that watch a device", value=hub.clients)
        yield CounterMetricFamily("energy_api_live_frames", "Frames made for WebSockets", value=hub.frames)
        yield CounterMetricFamily(
            "energy_api_live_dropped", "Frames that gave way because a client read too slowly", value=hub.dropped
        )
        yield CounterMetricFamily(
            "energy_api_live_interruptions", "Times the stream had a gap and its WebSockets were closed",
            value=hub.interruptions,
        )  # fmt: skip
