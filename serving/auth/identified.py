"""Who sends a request is asked before its body is read: a stranger's body costs nothing, and nobody's costs much."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection

from serving.auth.principal import authenticate
from serving.http.errors import Invalid

# The largest body of a route that is not `bulk`: a rule for 10,000 devices fits, and 64 kB of metadata twelve times.
MAX_BODY_BYTES = 1_000_000
# What JSON holds, counted by its commas. The parser keeps the interpreter to itself until it is done.
MAX_VALUES = 40_000
MAX_BULK_VALUES = 200_000
# No object of the API has so many keys: 64 kB of metadata hold fewer. Each unknown key is an error to make.
MAX_KEYS = 10_000
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_BULK = "__bulk__"


def bulk(endpoint: Endpoint) -> Endpoint:
    """Mark a route that takes bodies of up to API_MAX_BODY_MB."""
    setattr(endpoint, _BULK, True)
    return endpoint


class IdentifiedRoute(APIRoute):
    """A route with a body. FastAPI reads the body before it runs dependencies; here `authenticate` comes first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        is_bulk = hasattr(self.endpoint, _BULK)

        async def handle_identified(request: Request) -> Response:
            await identify(request)
            if not is_bulk:
                request.state.max_body = MAX_BODY_BYTES
            await _check_size(request, MAX_BULK_VALUES if is_bulk else MAX_VALUES)
            return await handle(request)

        return handle_identified


async def identify(connection: HTTPConnection) -> None:
    """Find out who sends the request, unless that is known already."""
    if not hasattr(connection.state, "principal"):
        await run_in_threadpool(authenticate, connection)


async def _check_size(request: Request, max_values: int) -> None:
    """Check that the body can be parsed and validated quickly.

    Raises:
        HTTPException: 413; it holds too many values. 400; the client has left.
        Invalid: it is nested too deeply, or an object has too many keys.

    """
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the body was complete") from None
    if body.count(b",") >= max_values:
        raise HTTPException(413, f"the body holds more than {max_values} values; send it in smaller parts")
    try:
        content = await request.json()  # the request keeps the result
    except RecursionError:
        raise Invalid("the JSON is nested too deeply") from None
    except ValueError:
        return  # FastAPI says where it is wrong
    if isinstance(content, dict | list) and _has_wide_object(content):
        raise Invalid(f"an object has more than {MAX_KEYS} keys; send fewer")


def _has_wide_object(content: Any) -> bool:
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if len(value) > MAX_KEYS:
                return True
            waiting.extend(v for v in value.values() if isinstance(v, dict | list))
        else:
            waiting.extend(v for v in value if isinstance(v, dict | list))
    return False
