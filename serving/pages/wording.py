"""Errors in the words of the pages: where the API names a route, a page that does the same stands in its place."""

import re

from markupsafe import Markup, escape

# The routes that errors name, each with the page that does the same, and what the page is called.
PAGES = {
    "POST /api/v1/devices": ("machines", "Machines"),
    "POST /api/v1/exports/run": ("data/exports", "Exports"),
    "GET /api/v1/analytics/datasets": ("data", "Data"),
    "POST /api/v1/analytics/run": ("analytics", "Analytics"),
    "GET /api/v1/alerts": ("alerts", "Alerts"),
    "GET /api/v1/rules": ("rules", "Rules"),
    "GET /api/v1/keys": ("settings", "Settings"),
    "GET /api/reports/schedules": ("reports/schedules", "Schedules"),
}
_ROUTE = re.compile(rf"({'|'.join(map(re.escape, PAGES))})(?=\s|$)")


def in_pages(detail: str, root: str) -> str:
    """The error's detail with links to pages; `root` is the way from the open page up to the first one."""
    parts = []
    for part in _ROUTE.split(detail):
        path, name = PAGES.get(part, (None, part))
        parts.append(escape(name) if path is None else Markup('<a href="{}{}">{}</a>').format(root, path, name))
    return Markup("").join(parts)
