"""Launches and terminates the runs of jobs in the background, so that no client waits for Dagster.

What is not launched here is not lost: the job's row stays pending, and the sensor `launch_waiting_jobs` launches it.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine
from sqlmodel import Session

from serving.jobs.dagster import Dagster
from storage import jobs
from storage.jobs import Job

log = logging.getLogger(__name__)

THREADS, MAX_WAITING = 4, 400
# The sensor launches a job after 30 seconds. A launch makes two calls of at most 10 seconds, so it has ended by then.
MAX_WAIT_SECONDS = 10.0


class Launcher:
    """Takes jobs from requests and returns at once; safe to use from several threads."""

    def __init__(self, engine: Engine, dagster: Dagster) -> None:
        self._engine = engine
        self._dagster = dagster
        self._closed = threading.Event()
        self._in_database = threading.Lock()  # so that no connection is in use when the engine is disposed of
        self._waiting = queue.Queue[tuple[float, str, Callable[[], None]] | None](MAX_WAITING)
        for number in range(THREADS):
            threading.Thread(target=self._work, daemon=True, name=f"launcher-{number}").start()

    def launch(self, job: Job) -> None:
        """Launch a run for a job whose row is committed, as soon as a thread is free."""
        table, job_id = type(job), job.job_id
        self._put(f"{job_id} was not launched; Dagster's sensor will launch it", lambda: self._launch(table, job_id))

    def terminate(self, run_id: str) -> None:
        """Terminate the run of a cancelled job, as soon as a thread is free; it also ends by itself."""
        self._put(f"run {run_id} was not terminated", lambda: self._dagster.terminate(run_id))

    def close(self) -> None:
        """Begin nothing more. A call of Dagster that has begun goes on, but the database is not used any more."""
        with self._in_database:
            self._closed.set()
        with suppress(queue.Full):  # then no thread is waiting for more
            for _ in range(THREADS):
                self._waiting.put_nowait(None)

    def _put(self, otherwise: str, call: Callable[[], None]) -> None:
        try:
            self._waiting.put_nowait((time.monotonic() + MAX_WAIT_SECONDS, otherwise, call))
        except queue.Full:
            log.warning("%s: %d calls of Dagster are waiting already", otherwise, MAX_WAITING)

    def _work(self) -> None:
        while (waiting := self._waiting.get()) and not self._closed.is_set():
            until, otherwise, call = waiting
            try:
                if time.monotonic() > until:
                    log.warning("%s: Dagster was busy for %g s", otherwise, MAX_WAIT_SECONDS)
                else:
                    call()
            except Exception:
                log.exception("%s", otherwise)
            finally:
                self._waiting.task_done()

    def _launch(self, table: type[Job], job_id: str) -> None:
        """Launch a run; no transaction is open while Dagster is asked."""
        with self._session() as session:
            job = jobs.find(session, table, job_id) if session else None
        if job is None or job.status != "pending":  # cancelled since
            return
        if run_id := self._dagster.launch(job):
            with self._session() as session:
                if session:
                    jobs.note_launch(session, session.merge(job, load=False), run_id)
                    session.commit()

    @contextmanager
    def _session(self) -> Iterator[Session | None]:
        """A session of the database; none after `close`."""
        with self._in_database:
            if self._closed.is_set():
                yield None
                return
            with Session(self._engine, expire_on_commit=False) as session:
                yield session
