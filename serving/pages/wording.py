"""Errors in the words of the pages, where the API names a route or a field."""

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
# The fields that errors name, as the forms call them.
LABELS = {
    "rule_name": "Name",
    "device_name": "Name",
    "device_ids": "Machines",
    "device_id": "Machine",
    "device_type": "Type",
    "property": "Metric",
    "condition": "Condition",
    "threshold": "Threshold",
    "for_seconds": "Must hold for",
    "cooldown_minutes": "Cooldown",
    "active_hours.from": "From",
    "active_hours.to": "To",
    "notification_channels": "Notify",
    "acknowledged_by": "Your name",
    "resolved_by": "Your name",
    "note": "Note",
    "failed_at": "Failed",
    "repaired_at": "Ran again",
    "start_date": "From",
    "end_date": "To",
    "date_range_start": "From",
    "date_range_end": "To",
    "parameters.horizon_hours": "Hours ahead",
    "parameters.trained_until": "Trained until",
    "parameters.false_events_a_week": "False events a week",
    "parameters.strictness": "Strictness",
}
_FIELD = re.compile(r"(^|; )([a-z_]+(?:\.[a-z_]+)*)(?:\.\d+)?: ")
_ROUTE = re.compile(rf"({'|'.join(map(re.escape, PAGES))})(?=\s|$)")


def in_pages(detail: str, root: str) -> str:
    """The error's detail with links to pages; `root` is the way from the open page up to the first one."""
    parts = []
    for part in _ROUTE.split(_FIELD.sub(_labelled, detail)):
        path, name = PAGES.get(part, (None, part))
        parts.append(escape(name) if path is None else Markup('<a href="{}{}">{}</a>').format(root, path, name))
    return Markup("").join(parts)


def label(field: str) -> str:
    """What the forms call a field of the API."""
    return LABELS.get(re.sub(r"\.\d+$", "", field), field)


def _labelled(found: re.Match[str]) -> str:
    return f"{found[1]}{label(found[2])}: "
