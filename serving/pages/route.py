"""How a page is answered: who is not signed in comes to the login, errors are pages, and writes carry a token."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from serving.auth.identified import MAX_BODY_BYTES, identify
from serving.auth.routes import stay_signed_in
from serving.http.errors import ProblemDetails, Unauthenticated, named_errors
from serving.pages import csrf
from serving.pages.recent import recent
from serving.pages.render import (
    DONE_COOKIE,
    LEFT_OUT_COOKIE,
    SAID_ONCE,
    is_partial,
    problem_page,
    root_of,
    wants_json,
)
from storage.access import SESSION_COOKIE, Principal, hash_of

SEE_OTHER = 303
EXTENDED_EVERY_SECONDS = 3600
MAX_SAID = 400


class PageRoute(APIRoute):
    """A route that answers with HTML. A field of a form that was left blank counts as left out."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            try:
                await identify(request)
            except Unauthenticated:
                if wants_json(request):
                    raise
                return to_login(request)
            request.scope["query_string"] = urlencode(parse_qs(request.url.query), doseq=True).encode()
            if request.method != "GET":
                request.state.max_body = MAX_BODY_BYTES
                request.state.form = parse_qs((await request.body()).decode(errors="replace"))
                sent = request.headers.get(csrf.HEADER) or form_of(request).get(csrf.FIELD)
                csrf.check(request, sent)
            try:
                response = await handle(Request(request.scope, request.receive))
            except RequestValidationError as error:
                if (right := _without_wrong(request, error)) is None:
                    raise
                return right
            csrf.remember(request, response)
            if request.method == "GET" and not is_partial(request) and not wants_json(request):
                for name in request.cookies.keys() & set(SAID_ONCE):
                    response.delete_cookie(name)
            await _stay_signed_in(request, response)
            return response

        return handle_page

    def show_problem(self, request: Request, problem: ProblemDetails, headers: Mapping[str, str]) -> Response:
        """The error as a page, or as a note on the page that htmx has open."""
        return problem_page(request, problem, headers)


async def _stay_signed_in(request: Request, response: Response) -> None:
    """Extend the session of those who may only look, once an hour: a screen on a wall stays signed in.

    Who may change something signs in again after 12 hours.
    """
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is not None and principal.role == "read" and SESSION_COOKIE in request.cookies:
        key = ("signed in", hash_of(request.cookies[SESSION_COOKIE]))
        extend = partial(stay_signed_in, request, response, principal)
        await run_in_threadpool(recent(request, EXTENDED_EVERY_SECONDS).get, key, extend)


def _without_wrong(request: Request, error: RequestValidationError) -> Response | None:
    """Lead a browser to the page without the parameters that are wrong, which then says so.

    None if the error is not about these alone.
    """
    wrong = {str(one["loc"][1]) for one in error.errors() if one["loc"][0] == "query" and len(one["loc"]) > 1}
    is_page = request.method == "GET" and not is_partial(request) and not wants_json(request)
    if not is_page or not wrong or any(one["loc"][0] != "query" for one in error.errors()):
        return None
    right = {name: values for name, values in parse_qs(request.url.query).items() if name not in wrong}
    path = request.url.path.removeprefix(request.scope.get("root_path", "")).lstrip("/")
    response = to_page(request, f"{path}?{urlencode(right, doseq=True)}" if right else path)
    _say_once(request, response, LEFT_OUT_COOKIE, named_errors(error.errors())[0])
    return response


def _say_once(request: Request, response: Response, name: str, text: str) -> None:
    """Let the page to which the response leads say the text."""
    is_secure = request.url.scheme == "https"
    response.set_cookie(name, quote(text[:MAX_SAID]), max_age=60, httponly=True, samesite="strict", secure=is_secure)


class BrowserRoute(PageRoute):
    """A page at an address that programs use too: it is for who accepts HTML."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        headers = dict(scope.get("headers", ()))
        if b"text/html" not in headers.get(b"accept", b""):
            return Match.NONE, {}
        return super().matches(scope)


def pages(route_class: type[APIRoute] = PageRoute) -> APIRouter:
    """A router of pages, which the description of the API leaves out."""
    return APIRouter(route_class=route_class, include_in_schema=False)


def form_of(request: Request) -> dict[str, str]:
    """The fields of the form that was sent; of a field that was sent several times the last."""
    return {name: values[-1] for name, values in request.state.form.items()}


def fields_of(request: Request, name: str) -> list[str]:
    """All values of a field that may be sent several times."""
    values: list[str] = request.state.form.get(name, [])
    return values


def to_page(request: Request, path: str, *, done: str = "") -> Response:
    """Lead the browser to a page after a write; `path` is without the slash at its front.

    The page says what was `done`, once.
    """
    location = root_of(request) + path
    response: Response = RedirectResponse(location, SEE_OTHER)
    if is_partial(request):
        response = Response(status_code=204, headers={"HX-Redirect": location})
    if done:
        _say_once(request, response, DONE_COOKIE, done)
    return response


def to_login(request: Request) -> Response:
    """Lead the browser to the login, and back to the page afterwards."""
    page = request.url
    if is_partial(request) or request.method != "GET":
        page = urlsplit(request.headers.get("HX-Current-URL", request.headers.get("Referer", "")))  # type: ignore[assignment] # both have path and query
    path = page.path.removeprefix(request.scope.get("root_path", "")).lstrip("/")
    query = {
        "next": f"{path}?{page.query}" if page.query else path,
        # Only who was signed in has a page open, or the cookie.
        "ended": "yes" if is_partial(request) or SESSION_COOKIE in request.cookies else "",
    }
    following = urlencode({name: value for name, value in query.items() if value})
    return to_page(request, f"login?{following}" if following else "login")
