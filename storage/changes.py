"""Changes of the registry's tables, as PostgreSQL announces them: devices, maintenance windows and rules."""

from collections.abc import Generator

from storage import database
from storage.settings import Settings

# How long the database may take to say that the connection still stands.
ALIVE_SECONDS = 5
POLL_SECONDS = 0.5


def registry_changes(settings: Settings) -> Generator[frozenset[str], None, None]:
    """Yield the names of the tables that changed, about twice a second; an empty set if none did.

    What changed before the first yield is not announced, so load everything then. Changes that come at once are yielded
    together. Close the generator to close its connection.

    Raises:
        psycopg.OperationalError: the database does not answer.

    """
    with database.connect(settings, autocommit=True, answer_timeout=ALIVE_SECONDS) as connection:
        connection.execute("LISTEN registry_changed")
        yield frozenset()
        while True:
            changed = frozenset(notice.payload for notice in connection.notifies(timeout=POLL_SECONDS, stop_after=1))
            if not changed:
                connection.execute("SELECT 1")  # a connection that was lost silently is noticed here
            yield changed
