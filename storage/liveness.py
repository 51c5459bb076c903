"""Whether the process of a run is alive: it holds a lock in the database, which ends with its connection.

The connection ends however the process does: by an exit, by a kill, or with its machine.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from sqlalchemy import text
from sqlmodel import Session

from storage.database import connect
from storage.settings import Settings

CHECK_SECONDS = 2.0  # between two checks of the connection
THREAD_TIMEOUT_SECONDS = 10.0
# A machine that is gone closes no connection. With these options the server notices within a minute.
KEEPALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"


@contextmanager
def show_alive(settings: Settings, run_id: str) -> Iterator[None]:
    """Show that a run is alive as long as the block runs, also after a restart of the database."""
    held, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=_hold, args=(settings, run_id, held, ended), name="liveness", daemon=True)
    thread.start()
    held.wait(THREAD_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        ended.set()
        thread.join(THREAD_TIMEOUT_SECONDS)


def _hold(settings: Settings, run_id: str, held: threading.Event, ended: threading.Event) -> None:
    while not ended.is_set():
        with suppress(psycopg.Error), connect(settings, autocommit=True) as connection:
            connection.execute(KEEPALIVE)
            while not ended.is_set() and not _try_lock(connection, run_id):
                ended.wait(0.1)  # `is_alive` has it for a moment
            held.set()
            while not ended.wait(CHECK_SECONDS):
                connection.execute("SELECT 1")
        ended.wait(1)


def _try_lock(connection: psycopg.Connection, run_id: str) -> bool:
    """Take the lock. Returns False if another connection has it at this moment."""
    row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"run/{run_id}",)).fetchone()
    return row is not None and row[0]


# Takes the lock and gives it back at once, without a transaction; CASE evaluates its parts in order.
_IS_FREE = text("""
SELECT CASE WHEN pg_try_advisory_lock(hashtextextended(:key, 0)) THEN pg_advisory_unlock(hashtextextended(:key, 0))
       ELSE false END
""")


def is_alive(session: Session, run_id: str) -> bool:
    """Whether a process shows that the run is alive."""
    return not session.execute(_IS_FREE, {"key": f"run/{run_id}"}).scalar_one()
