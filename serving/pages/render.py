"""Templates into answers: the surroundings that every page has, and the headers that keep browsers strict."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, get_args
from urllib.parse import unquote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from assets.analyses import best_baseline
from serving.auth.principal import principal_if_any
from serving.devices.schemas import Status as DeviceStatus
from serving.http.errors import ProblemDetails
from serving.http.redirects import way_up
from serving.pages import csrf, display, static_files
from serving.pages.wording import in_labels, in_pages, label
from storage.access import Principal, Role
from storage.jobs import JobStatus
from storage.rules import SEVERITIES
from storage.times import utc_now

FOLDER = Path(__file__).parent / "templates"
# No inline script or style, and nothing of another host. A page is shown in no frame, and shows only our own in one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
ROOT_HEADER = "X-Page-Root"
# What was wrong in the address of a page, until the page that is shown instead has said it.
LEFT_OUT_COOKIE = "energy_left_out"
# What a write has done, until the page to which it leads has said it.
DONE_COOKIE = "energy_done"
SAID_ONCE = (LEFT_OUT_COOKIE, DONE_COOKIE)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Vary": f"HX-Request, Accept, {ROOT_HEADER}",
    # An open page sees by it that the platform was updated.
    "X-Page-Files": static_files.HASH,
}


class Section(NamedTuple):
    """An entry of the navigation: the page's path without the slash at its front, and its name."""

    path: str
    name: str


NAVIGATION = (
    Section("", "Home"),
    Section("machines", "Machines"),
    Section("alerts", "Alerts"),
    Section("rules", "Rules"),
    Section("analytics", "Analytics"),
    Section("reports", "Reports"),
    Section("data", "Data"),
    Section("settings", "Settings"),
)

_templates = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters |= {**display.FILTERS, "best_baseline": best_baseline, "in_pages": in_pages, "label": label}
_templates.globals |= {
    "navigation": NAVIGATION,
    "release": version("energy-platform"),
    "now": utc_now,
    "severities": SEVERITIES,
    "job_states": get_args(JobStatus),
    "device_statuses": get_args(DeviceStatus),
}


def show(
    request: Request, template: str, context: Mapping[str, Any] | None = None, *, status: int = 200
) -> HTMLResponse:
    """A page, or with a template in `partials/` a part of one that htmx asks for."""
    text = _templates.get_template(template).render({**_surroundings(request), **(context or {})})
    return HTMLResponse(text, status, HEADERS)


def problem_page(request: Request, problem: ProblemDetails, headers: Mapping[str, str]) -> Response:
    """An error in the API's words. If htmx asks, it goes into the page's place for notices; a chart gets it as JSON."""
    if wants_json(request):
        in_words = problem.model_copy(update={"detail": in_labels(problem.detail)})
        return JSONResponse(in_words.model_dump(), problem.status, headers, media_type="application/problem+json")
    if not hasattr(request.state, "principal"):
        request.state.principal = principal_if_any(request)  # a browser that is lost has not been asked
    is_part = is_partial(request)
    # A page of ours that helps: its path, and what it is called.
    context = {"problem": problem, "link": getattr(request.state, "problem_link", None)}
    response = show(request, "partials/problem.html" if is_part else "problem.html", context)
    response.status_code = problem.status
    response.headers.update(headers)
    if is_part:
        response.headers.update({"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"})
    return response


def is_partial(request: Request) -> bool:
    """Whether htmx asks, for a part of the page that is open."""
    return request.headers.get("HX-Request") == "true"


def wants_json(request: Request) -> bool:
    """Whether a script of a page asks for data."""
    return request.headers.get("accept") == "application/json"


def root_of(request: Request) -> str:
    """The way from the open page up to the first page. It holds under any prefix that a proxy takes away.

    What htmx asks for becomes a part of the open page, which says its own way in a header.
    """
    of_page = request.headers.get(ROOT_HEADER, "")
    if is_partial(request) and re.fullmatch(r"\./|(\.\./){1,9}", of_page):
        return of_page
    return way_up(request)


def _surroundings(request: Request) -> dict[str, Any]:
    """What every template can use."""
    principal: Principal | None = getattr(request.state, "principal", None)
    root = root_of(request)
    path = request.url.path.removeprefix(request.scope.get("root_path", "")).lstrip("/")

    def may(role: Role) -> bool:
        return principal is not None and principal.may(role)

    state = request.app.state
    return {
        "root": root,
        "static": f"{root}{static_files.PATH.lstrip('/')}",
        "files": static_files.HASH,
        "site_zone": state.settings.zone.key,
        "section": path.partition("/")[0],
        "principal": principal,
        "may": may,
        "opens_dagster": may("operate") and principal is not None and principal.tenant_id is None,
        # Where browsers find Dagster, without the slash at its end.
        "dagster": (state.api_settings.dagster_public_url or state.settings.dagster_address).rstrip("/"),
        "csrf_token": csrf.token(request),
        "left_out": unquote(request.cookies.get(LEFT_OUT_COOKIE, "")),
        "done": unquote(request.cookies.get(DONE_COOKIE, "")),
        "is_partial": is_partial(request),
    }
