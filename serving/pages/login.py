"""Signing in with a key, and signing out."""

from fastapi import Request, Response

from serving.auth import routes as auth
from serving.auth.principal import principal_if_any, public
from serving.auth.schemas import SignIn
from serving.http.errors import Problem
from serving.pages.forms import body_of
from serving.pages.render import show
from serving.pages.route import form_of, pages, to_page
from storage.access import SESSION_COOKIE

router = pages()


@router.get("/login")
@public
def login_page(
    request: Request,
    next: str = "",  # noqa: A002 - the parameter's name in the URL
    ended: str = "",
) -> Response:
    """The form for a key. `ended`: the browser was signed in before."""
    signed_in = principal_if_any(request) if SESSION_COOKIE in request.cookies else None
    context = {"following": _own_page(next), "signed_in": signed_in, "ended": ended, "problem": None}
    return show(request, "login.html", context)


@router.post("/login")
@public
def sign_in(request: Request) -> Response:
    """Exchange the key for a session, as POST /api/v1/session does, and go on to the page that was asked for."""
    form = form_of(request)
    following = _own_page(form.get("next", ""))
    response = to_page(request, following)
    try:
        auth.sign_in(request, response, body_of(SignIn, {"key": form.get("key", "").strip()}))
    except Problem as problem:
        context = {"following": following, "signed_in": None, "ended": "", "problem": problem, "link": None}
        response = show(request, "login.html", context, status=problem.status)
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/logout")
@public
def sign_out(request: Request) -> Response:
    """End the session."""
    response = to_page(request, "login")
    auth.sign_out(request, response)
    return response


def _own_page(path: str) -> str:
    """The path of a page of ours, without a slash at its front; the first page for anything else."""
    path = path.lstrip("/\\")
    # Anything with a scheme, or with what browsers leave out or take for a slash, may lead to another site.
    return path if path.isprintable() and not {":", "\\"} & set(path.partition("?")[0]) else ""
