"""The API's description (OpenAPI 3.1): what FastAPI derives, and what holds for every route."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from serving.auth.principal import COOKIE, PUBLIC, needed_role
from serving.http.errors import ProblemDetails

TAGS = {
    "devices": "The registry of machines.",
    "telemetry": "Readings, aggregates and statistics over time, from open and exported days alike.",
    "rules": "What is watched, and evaluation on demand.",
    "alerts": "What rules raised, and what people did about it.",
    "maintenance": "Times in which devices raise no alerts, and what was held back.",
    "exports": "Datasets on demand: a device's days as Parquet.",
    "analytics": "Models, datasets, jobs and their results.",
    "reports": "Reports as PDF, Excel or JSON.",
    "files": "Downloads by signed links.",
    "access": "Signing in, tickets, the book of changes.",
    "health": "Whether the platform lives and its parts answer.",
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, as `Authorization: Bearer KEY`"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "From POST /api/v1/session"},
}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Let the app's description name its security and every error of each operation."""
    derive = app.openapi
    roles = dict(_roles(routers))

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(derive(), roles)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend it


def _roles(routers: Sequence[APIRouter]) -> Iterator[tuple[tuple[str, str], str]]:
    """(path, method) of every route with the role that it needs."""
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                yield (route.path_format, method.lower()), needed_role(route.endpoint, method)


def _completed(schema: dict[str, Any], roles: dict[tuple[str, str], str]) -> dict[str, Any]:
    schemas = schema["components"]["schemas"]
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["ProblemDetails"].pop("$defs", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schema["components"]["securitySchemes"] = SCHEMES
    schema["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            role = roles[path, method]
            if role != PUBLIC:
                operation["security"] = [{name: []} for name in SCHEMES]
                operation["x-required-role"] = role
            answers = operation["responses"]
            for status in _errors(role, operation, path):
                answers.setdefault(str(status.value), {"description": status.phrase, "content": PROBLEM})
            if "422" in answers:
                answers["422"] = {"description": HTTPStatus.UNPROCESSABLE_ENTITY.phrase, "content": PROBLEM}
    return schema


def _errors(role: str, operation: dict[str, Any], path: str) -> list[HTTPStatus]:
    """What any operation of its kind may answer, beside the errors of its own."""
    found = [HTTPStatus.SERVICE_UNAVAILABLE]
    if role != PUBLIC:
        found += [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS]
    if "{" in path:
        found.append(HTTPStatus.NOT_FOUND)
    if "requestBody" in operation:
        found += [HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE]
    return found
