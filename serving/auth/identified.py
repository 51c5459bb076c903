"""Who sends a request is asked before its body is read: a stranger's body costs nothing, and nobody's costs much."""

import sys
from collections.abc import Callable, Coroutine
from json import JSONDecodeError
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
# All keys of the body, without those in the metadata of devices, whose own limit is 64 kB. Each key that the API does
# not know is an error to make.
MAX_KEYS = 1_000
MAX_BULK_KEYS = 50_000
METADATA = ("metadata_json", "metadata")
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
            await _check_size(request, *((MAX_BULK_VALUES, MAX_BULK_KEYS) if is_bulk else (MAX_VALUES, MAX_KEYS)))
            return await handle(request)

        return handle_identified


async def identify(connection: HTTPConnection) -> None:
    """Find out who sends the request, unless that is known already."""
    if not hasattr(connection.state, "principal"):
        await run_in_threadpool(authenticate, connection)


async def _check_size(request: Request, max_values: int, max_keys: int) -> None:
    """Check that the body can be parsed and validated quickly.

    Raises:
        HTTPException: 413; it holds too many values. 400; the client has left.
        Invalid: it is not UTF-8, is nested too deeply, or has too many keys or digits.

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
    except UnicodeDecodeError as error:
        raise Invalid(f"the body is not UTF-8; look at its byte {error.start}", field="body") from None
    except JSONDecodeError:
        return  # FastAPI says where it is wrong
    except ValueError:
        raise Invalid(
            f"the body has a number of more than {sys.get_int_max_str_digits()} digits", field="body"
        ) from None
    if _count_keys(content) > max_keys:
        raise Invalid(f"the body has more than {max_keys} keys; send fewer")


def _count_keys(content: Any) -> int:
    """The keys of all objects, outside metadata."""
    count, waiting = 0, [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            count += len(value)
            waiting.extend(v for key, v in value.items() if isinstance(v, dict | list) and key not in METADATA)
        elif isinstance(value, list):
            waiting.extend(v for v in value if isinstance(v, dict | list))
    return count
