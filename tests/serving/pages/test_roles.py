"""No page has a button or a link that would be refused to who sees it."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Match

from serving.auth.principal import required_role
from serving.pages.routes import ROUTERS
from storage.access import ROLES, Role
from storage.stores import Stores
from storage.times import utc_now
from tests.serving.pages.test_analytics_and_reports import RESULTS, add_job
from tests.serving.pages.test_machines import HTML, TABS, register, send
from tests.support.browsing import Browser

PATHS = (
    "/", "/machines", "/machines?view=table", *(f"/machines/D1{tab}" for tab in TABS), "/machines/D2", "/alerts",
    "/alerts?status=all", "/rules", "/analytics", "/reports", "/reports/schedules", "/data", "/data/quarantine",
    "/data/late", "/data/exports", "/settings",
)  # fmt: skip
WRITES = re.compile(r'(?:hx-post|formaction)="([^"]+)"|<form[^>]*method="post"[^>]*action="([^"]+)"')
LINKS = re.compile(r'<a [^>]*href="([^"#]+)"')


@pytest.mark.parametrize("role", ROLES)
def test_what_a_page_offers_is_allowed(
    client: TestClient, stores: Stores, key: Callable[..., dict[str, str]], role: Role
) -> None:
    admin = key("admin", name="setting up")
    register(client, "D1", headers=admin)
    for device_id in ("D1", "D2"):
        send(stores, device_id, 10)
    rule = {"rule_name": "r", "scope": "all_devices", "property": "power", "condition": ">", "threshold": 1}
    rule_id = client.post("/api/v1/rules", json=rule | {"severity": "low"}, headers=admin).json()["data"]["rule_id"]
    reading = {"device_id": "D1", "timestamp": utc_now().isoformat(), "power": 5.0}
    client.post("/api/v1/rules/evaluate", json=reading, headers=admin)
    alert_id = client.get("/api/v1/alerts", headers=admin).json()["data"][0]["alert_id"]
    jobs = [
        f"/analytics/{add_job(stores.session, kind, status='completed', results=RESULTS[kind])}" for kind in RESULTS
    ]
    jobs.append(f"/analytics/{add_job(stores.session, 'anomaly', status='running')}")
    browser = Browser(client, key(role))
    links, writes = set(), set()
    for path in (*PATHS, f"/rules/{rule_id}", f"/alerts/{alert_id}", *jobs):
        shown = browser.page(path)
        links |= {_own_path(path, link) for link in LINKS.findall(shown)}
        writes |= {_own_path(path, one or other) for one, other in WRITES.findall(shown)}
    for write in writes - {"/logout"}:
        needed = required_role(_endpoint(write), "POST")
        assert needed is None or ROLES.index(role) >= ROLES.index(needed), write
    assert (writes == {"/logout"}) is (role == "read"), writes
    for link in links - {""}:
        answer = client.get(link, headers=HTML, follow_redirects=False)
        assert answer.status_code in (200, 303, 307), f"{link}: {answer.status_code}"


def _own_path(page: str, link: str) -> str:
    url = urlsplit(urljoin(f"http://here{page}", link.replace("&amp;", "&")))
    return f"{url.path}{f'?{url.query}' if url.query else ''}" if url.netloc == "here" else ""


def _endpoint(path: str) -> Any:
    scope = {"type": "http", "method": "POST", "path": path.partition("?")[0], "headers": [], "query_string": b""}
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return next(route.endpoint for route in routes if route.matches(scope)[0] is Match.FULL)
