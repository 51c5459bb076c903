from sqlalchemy import text
from sqlmodel import Session

from storage.liveness import is_alive, show_alive
from storage.settings import Settings
from tests.support.servers import wait_until


def test_a_run_lives_as_long_as_its_block_whatever_the_database_does(settings: Settings, session: Session) -> None:
    assert not is_alive(session, "run-1")
    with show_alive(settings, "run-1"):
        assert is_alive(session, "run-1")
        assert not is_alive(session, "run-2")
        # As a restart of the server: its connection ends.
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
        )
        wait_until(lambda: not is_alive(session, "run-1"), "the lock is gone")
        wait_until(lambda: is_alive(session, "run-1"), "it is held again")
    wait_until(lambda: not is_alive(session, "run-1"), "the server has noticed that the run is over")
