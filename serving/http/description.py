"""The API's description (OpenAPI 3.1): FastAPI's own, with the security and the errors that all operations share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from serving.http.errors import ProblemDetails

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}


def describe(
    app: FastAPI,
    routers: Sequence[APIRouter],
    *,
    tags: Mapping[str, str],
    security_schemes: Mapping[str, Any],
    required_role: Callable[[Any, str], str | None],
) -> None:
    """Add security and errors to every operation of the app's description.

    Args:
        app: The app.
        routers: Its routers.
        tags: Descriptions of the tags by name.
        security_schemes: OpenAPI security schemes by name; each lets a client use every operation with a role.
        required_role: The role that an endpoint needs for an HTTP method; None for a public one.

    """
    derive = app.openapi
    roles = dict(_roles(routers, required_role))

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = derive()
            schema["tags"] = [{"name": name, "description": text} for name, text in tags.items()]
            schema["components"]["securitySchemes"] = security_schemes
            _use_problem_details(schema["components"]["schemas"])
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    _complete(operation, path, roles[path, method], security_schemes)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend it


def _roles(
    routers: Sequence[APIRouter], required_role: Callable[[Any, str], str | None]
) -> Iterator[tuple[tuple[str, str], str | None]]:
    """(path, method) of every route, and its role."""
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                yield (route.path_format, method.lower()), required_role(route.endpoint, method)


def _use_problem_details(schemas: dict[str, Any]) -> None:
    """Describe our errors in place of FastAPI's."""
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["ProblemDetails"].pop("$defs", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _complete(operation: dict[str, Any], path: str, role: str | None, security_schemes: Mapping[str, Any]) -> None:
    if role is not None:
        operation["security"] = [{name: []} for name in security_schemes]
        operation["x-required-role"] = role
    responses = operation["responses"]
    for status in _errors(operation, path, is_public=role is None):
        responses.setdefault(str(status.value), {"description": status.phrase, "content": PROBLEM})
    if "422" in responses:
        responses["422"] = {"description": HTTPStatus.UNPROCESSABLE_ENTITY.phrase, "content": PROBLEM}


def _errors(operation: dict[str, Any], path: str, *, is_public: bool) -> list[HTTPStatus]:
    """The errors that any operation of this kind may answer with."""
    errors = [HTTPStatus.SERVICE_UNAVAILABLE]
    if not is_public:
        errors += [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS]
    if "{" in path:
        errors.append(HTTPStatus.NOT_FOUND)
    if "requestBody" in operation:
        errors += [HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE]
    return errors
