"""The first page: what needs attention now."""

from fastapi import Request, Response

from serving.pages.render import show
from serving.pages.route import BrowserRoute, pages

router = pages(BrowserRoute)


@router.get("/")
def home_page(request: Request) -> Response:
    """The first page, for browsers; programs get the service's version."""
    return show(request, "home.html")
