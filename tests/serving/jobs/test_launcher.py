"""Clients do not wait for Dagster, and what it does not launch stays pending."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import Session, col, select

from serving.app import create_app
from serving.jobs import launcher
from storage.devices import Device
from storage.jobs import ExportJob
from storage.settings import Settings
from tests.serving.conftest import BASE

LAUNCHED = {"data": {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": "run-1"}}}}


class BusyDagster:
    """Answers nothing until `answers` is set; `asked` counts the calls that have come."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = threading.Semaphore(0)
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        self.asked.release()
        self.answers.wait(60)
        return httpx.Response(200, json=LAUNCHED)


@pytest.fixture
def busy() -> BusyDagster:
    return BusyDagster()


@pytest.fixture
def client(settings: Settings, session: Session, busy: BusyDagster) -> Iterator[TestClient]:
    """The API with a device, and a Dagster that never answers."""
    session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
    session.commit()
    with TestClient(create_app(settings), base_url=BASE) as client:
        state = app_of(client).state
        state.dagster._client = httpx.Client(base_url="http://dagster", transport=httpx.MockTransport(busy))
        yield client
        busy.answers.set()
        state.launcher._waiting.join()


def app_of(client: TestClient) -> FastAPI:
    assert isinstance(client.app, FastAPI)
    return client.app


def export(client: TestClient) -> dict[str, Any]:
    answer = client.post("/api/v1/exports/run", json={"device_id": "D1"})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def rows(session: Session) -> list[ExportJob]:
    session.expire_all()
    return list(session.exec(select(ExportJob).order_by(col(ExportJob.created_at))))


def test_a_job_is_accepted_while_dagster_does_not_answer(
    client: TestClient, session: Session, busy: BusyDagster
) -> None:
    assert export(client)["status"] == "started"
    assert busy.asked.acquire(timeout=30)
    (row,) = rows(session)
    assert (row.status, row.run_id, row.launches) == ("pending", None, 0)
    busy.answers.set()  # it has not been given up: the client's answer came before Dagster's
    app_of(client).state.launcher._waiting.join()
    (row,) = rows(session)
    assert (row.status, row.run_id, row.launches) == ("pending", "run-1", 1)


def test_many_jobs_are_accepted_and_launched_once_each(client: TestClient, session: Session, busy: BusyDagster) -> None:
    for _ in range(20):
        export(client)
    assert [row.status for row in rows(session)] == ["pending"] * 20
    busy.answers.set()
    app_of(client).state.launcher._waiting.join()
    assert [row.launches for row in rows(session)] == [1] * 20
    assert busy.calls == 20


def test_a_job_that_is_cancelled_while_it_waits_is_not_launched(
    client: TestClient, session: Session, busy: BusyDagster
) -> None:
    first = [export(client) for _ in range(launcher.THREADS)]
    for _ in first:
        assert busy.asked.acquire(timeout=30)
    cancelled = export(client)["job_id"]
    assert client.post(f"/api/v1/exports/jobs/{cancelled}/cancel").json()["status"] == "cancelled"
    busy.answers.set()
    app_of(client).state.launcher._waiting.join()
    assert busy.calls == len(first)


def test_what_waits_too_long_is_left_to_the_sensor(
    monkeypatch: pytest.MonkeyPatch, client: TestClient, busy: BusyDagster, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(launcher.THREADS):
        export(client)
        assert busy.asked.acquire(timeout=30)
    monkeypatch.setattr(launcher, "MAX_WAIT_SECONDS", -1.0)
    late = export(client)["job_id"]
    busy.answers.set()
    app_of(client).state.launcher._waiting.join()
    assert f"{late} was not launched; Dagster's sensor will launch it: Dagster was busy for" in caplog.text
    assert busy.calls == launcher.THREADS


def test_more_than_there_is_room_for_is_left_to_the_sensor(
    monkeypatch: pytest.MonkeyPatch,
    client: TestClient,
    session: Session,
    busy: BusyDagster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(launcher.THREADS):
        export(client)
        assert busy.asked.acquire(timeout=30)
    waiting = app_of(client).state.launcher._waiting
    with monkeypatch.context() as patched:
        patched.setattr(waiting, "maxsize", 1)
        waits, left = export(client)["job_id"], export(client)["job_id"]
    busy.answers.set()
    waiting.join()
    assert f"{left} was not launched; Dagster's sensor will launch it: " in caplog.text
    launches = {row.job_id: row.launches for row in rows(session)}
    assert (launches[waits], launches[left]) == (1, 0)


def test_the_api_ends_while_dagster_does_not_answer(client: TestClient, session: Session, busy: BusyDagster) -> None:
    for _ in range(launcher.THREADS + 1):
        export(client)
    for _ in range(launcher.THREADS):
        assert busy.asked.acquire(timeout=30)
    app_of(client).state.launcher.close()
    busy.answers.set()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("launcher-")]
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert busy.calls == launcher.THREADS
    assert [row.status for row in rows(session)] == ["pending"] * (launcher.THREADS + 1)
    app_of(client).state.launcher._waiting = queue.Queue()  # nobody is there to end what waits
