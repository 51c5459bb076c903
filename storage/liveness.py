"""Whether the process that does a run still lives: it holds a lock in the database that ends with its connection.

Whatever ends a process ends that too: a kill, a machine that loses power, an `energy up` that was killed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from sqlalchemy import text
from sqlmodel import Session

from storage.database import connect
from storage.settings import Settings

LOOK = 2.0  # seconds between two looks whether the connection still stands
PATIENCE = 10.0
# A machine that is gone says nothing: the server asks, and gives up within a minute.
KEEPALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"


@contextmanager
def living(settings: Settings, run_id: str) -> Iterator[None]:
    """Show that a run is done here, as long as the block; after a restart of the database again."""
    held, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=_hold, args=(settings, run_id, held, ended), name="liveness", daemon=True)
    thread.start()
    held.wait(PATIENCE)
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)


def _hold(settings: Settings, run_id: str, held: threading.Event, ended: threading.Event) -> None:
    while not ended.is_set():
        with suppress(psycopg.Error), connect(settings, autocommit=True) as connection:
            connection.execute(KEEPALIVE)
            while not ended.is_set() and not _taken(connection, run_id):
                ended.wait(0.1)  # somebody just looks whether it is free
            held.set()
            while not ended.wait(LOOK):
                connection.execute("SELECT 1")
        ended.wait(1)


def _taken(connection: psycopg.Connection, run_id: str) -> bool:
    """Take the lock; False when another connection has it at this moment."""
    row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"run/{run_id}",)).fetchone()
    return row is not None and row[0]


def lives(session: Session, run_id: str) -> bool:
    """Whether some process shows that it does the run."""
    key = {"key": f"run/{run_id}"}
    free = session.execute(text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))"), key).scalar_one()
    session.rollback()
    return not free
