"""Dagster's webserver behind the guard: what strangers, other sites' pages, people with keys and we ourselves reach."""

import socket
import threading
from collections.abc import Callable, Iterator

import dagster as dg
import pytest
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from sqlalchemy import Engine
from sqlmodel import Session
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from starlette.websockets import WebSocketDisconnect

from orchestration.webserver import guard
from orchestration.webserver.__main__ import server_config
from orchestration.webserver.guard import SIGN_IN_PATH, Guard
from storage import access
from storage.access import SESSION_COOKIE, Role
from storage.secret_files import internal_headers
from storage.settings import Settings
from tests.support.servers import free_port, wait_until
from web import protocol

BASE = "http://127.0.0.1:3000"
QUERY = {"query": "{version}"}
MUTATION = 'mutation { deletePipelineRun(runId: "x") { __typename } }'
EVIL = "http://evil.example"
KeyMaker = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def dagster_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ASGIApp]:
    """Dagster's own app, without code locations."""
    with (
        dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        yield create_app_from_workspace_process_context(context)


@pytest.fixture
def web(dagster_app: ASGIApp, settings: Settings, engine: Engine) -> TestClient:
    return TestClient(Guard(dagster_app, settings, engine), base_url=BASE)


@pytest.fixture
def key(session: Session) -> KeyMaker:
    def make(role: Role, tenant_id: str | None = None) -> dict[str, str]:
        secret = access.create_key(session, f"{role} of {tenant_id}", role, tenant_id)
        session.commit()
        return {"Authorization": f"Bearer {secret}"}

    return make


def subscribe(web: TestClient, **headers: str) -> str:
    with web.websocket_connect(f"ws{BASE.removeprefix('http')}/graphql", ["graphql-ws"], headers=headers) as stream:
        stream.send_json({"type": "connection_init"})
        return str(stream.receive_json()["type"])


def test_without_a_key_its_own_pages_work(web: TestClient) -> None:
    page = web.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["x-frame-options"]) == (200, "SAMEORIGIN")
    assert "content-security-policy" in page.headers  # Dagster's own page
    own = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}
    assert web.post("/graphql", json=QUERY, headers=own).json()["data"]
    assert web.post("/graphql", json={"query": MUTATION}).json()["data"]  # a program sends no Origin
    assert subscribe(web, Origin=BASE) == "connection_ack"
    assert web.get("/server_info", headers={"Host": "localhost:3000"}).status_code == 200


def test_no_page_of_another_site_commands_it(web: TestClient) -> None:
    for how in (
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert web.post("/graphql", json={"query": MUTATION}, headers=how).status_code == 403
        assert web.post("/graphql", params={"query": MUTATION}, headers=how).status_code == 403  # as a form sends it
        assert web.post("/report_asset_materialization/a", headers=how).status_code == 403
        with pytest.raises(WebSocketDisconnect):
            subscribe(web, **how)


def test_nothing_is_done_by_get(web: TestClient) -> None:
    """As an image of any page would ask for it: without an Origin, and under the right name."""
    for path in ("/graphql", "/%67raphql"):
        asked = web.get(path, params={"query": MUTATION}, headers={"Accept": "image/*"})
        assert (asked.status_code, asked.headers["allow"]) == (405, "POST")
        page = web.get(path, params={"query": MUTATION}, headers={"Accept": "text/html"})
        assert (page.status_code, "__typename" in page.text) == (200, False)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_another_name_for_this_machine_is_refused(web: TestClient, host: str) -> None:
    """A site can let its own name point to 127.0.0.1 (DNS rebinding)."""
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        assert web.get("/", headers=headers).status_code == 401
        assert web.post("/graphql", json=QUERY, headers=headers).status_code in (401, 403)


def test_where_keys_exist_it_asks_for_one(web: TestClient, key: KeyMaker) -> None:
    operator = key("operate")
    page = web.get("/runs", headers={"Accept": "text/html"})
    assert (page.status_code, SIGN_IN_PATH in page.text) == (401, True)
    assert web.post("/graphql", json=QUERY).status_code == 401
    assert web.get("/server_info").status_code == 401
    with pytest.raises(WebSocketDisconnect):
        subscribe(web)
    for headers, status in (
        (operator, 200),
        (key("admin"), 200),
        (key("read"), 401),
        (key("operate", "acme"), 401),  # Dagster shows what belongs to all tenants
        ({"Authorization": "Bearer ek_guessed"}, 401),
        ({"Cookie": f"{SESSION_COOKIE}=guessed"}, 401),
    ):
        assert web.post("/graphql", json=QUERY, headers=headers).status_code == status
    assert subscribe(web, **operator) == "connection_ack"
    assert web.post("/graphql", json=QUERY, headers=operator | {"Host": "plant.example"}).status_code == 200


def test_people_sign_in_with_a_key(web: TestClient, key: KeyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WRONG_KEY_SECONDS", 0)
    secrets = {role: key(role)["Authorization"].removeprefix("Bearer ") for role in ("operate", "read")}
    for wrong in ("ek_guessed", "", secrets["read"]):
        assert web.post(SIGN_IN_PATH, data={"key": wrong}).status_code == 401
    assert web.post(SIGN_IN_PATH, data={"key": secrets["operate"]}, headers={"Origin": EVIL}).status_code == 403
    assert web.post(SIGN_IN_PATH, data={"key": "x" * 10_000}).status_code == 413
    signed_in = web.post(SIGN_IN_PATH, data={"key": secrets["operate"]}, follow_redirects=False)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/")
    assert "HttpOnly" in signed_in.headers["set-cookie"]
    assert web.post("/graphql", json=QUERY, headers={"Origin": BASE}).status_code == 200
    assert web.post("/graphql", json=QUERY, headers={"Origin": EVIL}).status_code == 403
    assert subscribe(web, Origin=BASE) == "connection_ack"


def test_our_own_processes_pass(web: TestClient, settings: Settings, key: KeyMaker) -> None:
    key("admin")
    ours = internal_headers(settings)
    assert web.post("/graphql", json={"query": MUTATION}, headers=ours | {"Host": "dagster:3000"}).status_code == 200
    assert web.post("/graphql", json=QUERY, headers=dict.fromkeys(ours, "guessed")).status_code == 401
    assert (settings.energy_home / "dagster-secret").stat().st_mode & 0o777 == 0o600


def test_wrong_keys_are_limited_by_address(web: TestClient, key: KeyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """By header and form together. Neither no key nor an ended session counts, and a valid key always works."""
    monkeypatch.setattr(guard, "WRONG_KEY_SECONDS", 0)
    operator = key("operate")
    for headers in ({}, {"Cookie": f"{SESSION_COOKIE}=ended"}):
        assert {web.get("/server_info", headers=headers).status_code for _ in range(25)} == {401}
    for _ in range(10):
        assert web.get("/server_info", headers={"X-API-Key": "guess"}).status_code == 401
        assert web.post(SIGN_IN_PATH, data={"key": "guess"}).status_code == 401
    for answer in (
        web.get("/server_info", headers={"X-API-Key": "guess"}),
        web.get("/server_info", headers={"Authorization": "Bearer guess"}),
        web.post(SIGN_IN_PATH, data={"key": "guess"}),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert web.get("/server_info", headers=operator).status_code == 200


@pytest.mark.parametrize("path", ["/logs/%2e%2e/%2e%2e/etc/passwd", "/logs/a/b.out", "/download_debug/x"])
def test_files_that_are_not_there(web: TestClient, path: str) -> None:
    answer = web.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")


def test_strangers_are_limited_as_at_the_api(
    dagster_app: ASGIApp, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_SECONDS", 0.5)
    port = free_port()
    server = uvicorn.Server(server_config(Guard(dagster_app, settings, engine), "127.0.0.1", port))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the guard answers")
        head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        for sent, status in ((head + b"a: ", b"408"), (head + b"a: " + b"x" * 200_000, b"431")):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(sent)
                assert client.recv(100).startswith(b"HTTP/1.1 " + status)
    finally:
        server.should_exit = True
        thread.join()
