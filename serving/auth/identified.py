"""Who sends a request is asked before its body is read: a stranger's body costs nothing."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from serving.auth.principal import authenticate
from serving.http.errors import Invalid

# What JSON holds, counted by its commas and brackets. The parser keeps the interpreter to itself until it is done.
MAX_VALUES = 200_000


class IdentifiedRoute(APIRoute):
    """A route with a body. FastAPI reads the body before it runs dependencies; here `authenticate` comes first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_identified(request: Request) -> Response:
            await identify(request)
            await _check_size(request)
            return await handle(request)

        return handle_identified


async def identify(connection: HTTPConnection) -> None:
    """Find out who sends the request, unless that is known already."""
    if not hasattr(connection.state, "principal"):
        await run_in_threadpool(authenticate, connection)


async def _check_size(request: Request) -> None:
    """Check that the body can be parsed quickly.

    Raises:
        HTTPException: 413; it holds too many values.
        Invalid: it is nested too deeply.

    """
    body = await request.body()
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise HTTPException(413, f"the body holds more than {MAX_VALUES} values; send it in smaller parts")
    try:
        await request.json()  # the request keeps the result
    except RecursionError:
        raise Invalid("the JSON is nested too deeply") from None
    except ValueError:
        return  # FastAPI says where it is wrong
