"""Calls out of the platform that end in time, whatever the other side does: a socket's time-out is for each read."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class BoundedCalls:
    """Makes each call in a thread, and waits for it at most `seconds`.

    A call that takes longer goes on by itself, and its result is lost. At most `limit` calls are under way, those
    included, so that an address that never answers does not pile up threads.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._limit = limit
        self._room = threading.Semaphore(limit)

    def call(self, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """The function's result.

        Raises:
            TimeoutError: There was none in time, or there is no room for another call.

        """
        if not self._room.acquire(blocking=False):
            raise TimeoutError(f"{self._limit} earlier calls have not ended yet")
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments, **options))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)
            finally:
                self._room.release()

        threading.Thread(target=run, daemon=True, name="call").start()
        try:
            return future.result(self._seconds)
        except TimeoutError:
            if future.done():  # the function's own
                raise
            raise TimeoutError(f"no end after {self._seconds:g} s") from None
