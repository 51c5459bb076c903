"""Errors in the words of the pages, where the API names a route or a field."""

import re

from markupsafe import Markup, escape

# The routes that errors name, each with the page that does the same, and what the page is called; `{}` is a
# machine's id.
PAGES = {
    "POST /api/v1/devices": ("machines", "Machines"),
    "POST /api/v1/exports/run": ("data/exports", "Exports"),
    "GET /api/v1/analytics/datasets": ("data", "Data"),
    "POST /api/v1/analytics/run": ("analytics", "Analytics"),
    "GET /api/v1/alerts": ("alerts", "Alerts"),
    "GET /api/v1/rules": ("rules", "Rules"),
    "GET /api/v1/keys": ("settings", "Settings"),
    "GET /api/reports/schedules": ("reports/schedules", "Schedules"),
    "GET /api/v1/data/energy/{}": ("machines/{}/energy", "Energy"),
    "GET /api/v1/devices/{}/corrections": ("machines/{}/energy", "Energy"),
    "GET /api/v1/devices/{}/failures": ("machines/{}/analyses", "Analyses"),
    "POST /api/v1/devices/{}/failures": ("machines/{}/analyses", "Analyses"),
}
# The fields that errors name, as the forms label them; of others the name is written as words.
LABELS = {
    "rule_name": "Name",
    "device_name": "Name",
    "device_ids": "Machines",
    "device_id": "Machine",
    "device_type": "Type",
    "location": "Place",
    "metadata_json": "Metadata",
    "property": "Metric",
    "for_seconds": "Must hold for",
    "cooldown_minutes": "Cooldown",
    "active_hours.from": "From",
    "active_hours.to": "To",
    "notification_channels": "Notify",
    "acknowledged_by": "Your name",
    "resolved_by": "Your name",
    "failed_at": "Failed",
    "repaired_at": "Ran again",
    "start_date": "From day",
    "end_date": "To day",
    "date_range_start": "From day",
    "date_range_end": "To day",
    "model_name": "Model",
    "dataset_key": "Dataset",
    "parameters.metric": "Metric",
    "parameters.horizon_hours": "Hours ahead",
    "parameters.trained_until": "The machine ran well until",
    "parameters.false_events_a_week": "False events a week",
    "parameters.strictness": "Strictness",
    "parameters.failures": "When it failed",
    "analysis_types": "Analyses in it",
    "send_at": "At",
    "frequency": "How often",
    "recipients": "Send to",
    "delivery": "As",
    "tenant_id": "Tenant",
    "days": "Valid for",
}
# What the API asks programs for, as people do it.
PHRASES = {
    "is missing; send it": "is missing; fill it in",
    "send a number without quotes": "give a number such as 12",
    "read it again, then change it": "load the page again, then change it",
    "send dataset_key, or": "choose a dataset, or",
}
# In the middle of a sentence only a name that is no word of its own is a field's.
_NAMES = sorted((name for name in LABELS if {"_", "."} & set(name)), key=len, reverse=True)
_NAMED = re.compile(rf"(?<![\w./{{\"])({'|'.join(map(re.escape, _NAMES))})(?:\.\d+)?(?![\w/}}\"])")
_FIELD = re.compile(r"(^|; )([a-z_]+(?:\.[a-z_]+)*(?:\.\d+)?): ")
_ROUTES = [(re.compile(re.escape(route).replace(r"\{\}", r"([\w.-]+)")), page) for route, page in PAGES.items()]
_ROUTE = re.compile(rf"(?:{'|'.join(f'(?:{pattern.pattern})' for pattern, _ in _ROUTES)})(?=\s|$)")
# What a program would send.
_EXAMPLE = re.compile(r", for example \{[^{}]*\}")


def in_pages(detail: str, root: str) -> str:
    """The error's detail with links to pages; `root` is the way from the open page up to the first one."""
    text, parts, at = in_labels(detail), [], 0
    for found in _ROUTE.finditer(text):
        path, name = _page_of(found[0])
        parts += [escape(text[at : found.start()]), Markup('<a href="{}{}">{}</a>').format(root, path, name)]
        at = found.end()
    return Markup("").join([*parts, escape(text[at:])])


def _page_of(route: str) -> tuple[str, str]:
    return next(
        (path.format(*found.groups()), name) for pattern, (path, name) in _ROUTES if (found := pattern.fullmatch(route))
    )


def in_labels(detail: str) -> str:
    """The error's detail with the fields as the forms label them."""
    for phrase, of_people in PHRASES.items():
        detail = detail.replace(phrase, of_people)
    detail = _EXAMPLE.sub("", detail)
    return _NAMED.sub(lambda found: label(found[1]), _FIELD.sub(_labelled, detail))


def label(field: str) -> str:
    """How the forms label a field of the API: `device_ids.1` is "Machines"."""
    name = re.sub(r"\.\d+$", "", field)
    words = name if "." in name else name.replace("_", " ").capitalize()
    return LABELS.get(name, words)


def _labelled(found: re.Match[str]) -> str:
    return f"{found[1]}{label(found[2])}: "
