"""Redirects within the API. They are relative, and so hold under any prefix that a proxy takes away."""

from fastapi import Request
from fastapi.responses import RedirectResponse


def way_up(request: Request) -> str:
    """The way from the request's address up to the first page, such as `../../`."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    return "../" * (path.count("/") - 1) or "./"


def redirect(request: Request, link: str, status: int) -> RedirectResponse:
    """Lead to a link: to a path of the API, with or without its host, or to another server."""
    path = link.removeprefix(str(request.base_url).rstrip("/"))
    return RedirectResponse(way_up(request) + path[1:] if path.startswith("/") else link, status)
