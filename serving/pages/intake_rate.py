"""How many readings a second are taken in: from two looks at the ingester's metrics, if it answers on this machine."""

import re
import time

import httpx
from fastapi import Request

from serving.pages.recent import recent
from storage.settings import Settings

TIMEOUT_SECONDS = 0.5
# A rate over a shorter time would jump.
LEAST_SECONDS = 10.0
RECEIVED = re.compile(r"^energy_ingest_received_total (\S+)$", re.MULTILINE)


def readings_per_second(request: Request, settings: Settings) -> float | None:
    """The rate since an earlier look, up to five minutes ago; None if the ingester does not answer, or at first."""
    kept = recent(request, 300)
    received = _received(settings)
    if received is None:
        return None
    now = time.monotonic()
    since, before = kept.get("received", lambda: (now, received))
    return (received - before) / (now - since) if now - since >= LEAST_SECONDS and received >= before else None


def _received(settings: Settings) -> float | None:
    try:
        answer = httpx.get(f"http://127.0.0.1:{settings.ingest_metrics_port}/metrics", timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError:
        return None
    found = RECEIVED.search(answer.text)
    return float(found[1]) if found else None
