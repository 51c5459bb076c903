import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from sqlmodel import Session, select
from typer.testing import CliRunner

from cli.main import app as energy
from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake import quarantine
from ingest.intake.intake import Intake
from ingest.metrics import IngestMetrics
from ingest.mqtt.subscription import Message
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from serving.app import create_app
from storage.alerts import Alert
from storage.dirty_days import DirtyDay
from storage.quarantine import QuarantinedReading
from storage.rules import Rule
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.telemetry import Refused, StoreUnavailable
from storage.times import microseconds
from tests.serving.conftest import BASE

RECEIVED = datetime(2026, 2, 12, 10, 0, 1, tzinfo=UTC)


@pytest.fixture
def intake(settings: Settings, engine: Engine) -> Iterator[Intake]:
    store, registry = open_telemetry_store(settings), Registry(settings, engine)
    registry.load()
    raiser = AlertRaiser(registry, LastSeen(), Outbox(NotifySettings.load()))
    yield Intake(settings.mqtt_topic, store, engine, registry, IngestMetrics(), raiser=raiser)
    store.close()


def send(intake: Intake, topic: str, payload: Any, received: datetime = RECEIVED) -> None:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    message = Message(topic=topic, payload=content, received_at=microseconds(received), redelivered=False, packet_id=0,
                      connection=0)  # fmt: skip
    assert intake.process([message], threading.Event())


def hot(second: int, temperature: float = 400.0) -> dict[str, Any]:
    return {"timestamp": f"2026-02-12T09:59:{second:02}Z", "temperature": temperature}


def device(client: TestClient, device_id: str, **metadata: Any) -> None:
    body = {"device_id": device_id, "device_name": "n", "device_type": "oven", "metadata_json": metadata}
    if client.post("/api/v1/devices", json=body).status_code == 409:
        client.put(f"/api/v1/devices/{device_id}", json={"metadata_json": metadata})


def replay(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/data/quarantine/replay", json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def paginate(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/data/quarantine?{query}").json()
    items: list[dict[str, Any]] = answer["data"]
    assert answer["total"] >= len(items)
    return items


def test_items_are_listed_filtered_and_paged(client: TestClient, intake: Intake) -> None:
    for i in range(3):
        send(intake, "devices/D1/telemetry", hot(i), RECEIVED + timedelta(minutes=i))
    send(intake, "devices/D2/telemetry", b"\xff\xfe", RECEIVED + timedelta(minutes=3))
    send(intake, "devices/D2/telemetry", {"timestamp": "100%_sure", "power": 1}, RECEIVED + timedelta(minutes=4))
    send(intake, "devices/a b/telemetry", {}, RECEIVED + timedelta(minutes=5))
    newest_first = [item["topic"].split("/")[1] for item in paginate(client)]
    assert newest_first == ["a b", "D2", "D2", "D1", "D1", "D1"]
    (first,) = paginate(client, "device_id=D1&page=3&page_size=1")
    assert {name: first[name] for name in first if name != "id"} == {
        "device_id": "D1",
        "topic": "devices/D1/telemetry",
        "payload": '{"timestamp": "2026-02-12T09:59:00Z", "temperature": 400.0}',
        "encoding": "utf-8",
        "reason": "temperature = 400 is outside its plausible limits -60 to 300",
        "metric": "temperature",
        "received_at": "2026-02-12T10:00:01Z",
        "replayed_at": None,
    }
    binary, unsure = (
        paginate(client, "device_id=D2&end_time=2026-02-12T10:03:02Z"),
        paginate(client, "reason=100%25_SURE"),
    )
    assert (binary[0]["encoding"], base64.b64decode(binary[0]["payload"])) == ("base64", b"\xff\xfe")
    assert [item["device_id"] for item in unsure] == ["D2"]
    assert len(paginate(client, "metric=temperature")) == 3
    assert len(paginate(client, "start_time=2026-02-12T10:01:01Z&end_time=2026-02-12T10:04:01Z")) == 3
    assert paginate(client, "replayed=true") == []
    assert len(paginate(client, "replayed=false")) == 6
    for wrong in ("device_id=a+b", "metric=Power", "start_time=2026-02-12", "replayed=perhaps", "reason=%00"):
        assert client.get(f"/api/v1/data/quarantine?{wrong}").status_code == 422


def test_a_corrected_device_gets_its_readings(client: TestClient, intake: Intake, session: Session) -> None:
    session.add(Rule(rule_name="Hot", scope="all_devices", property="temperature", condition=">", threshold=390))
    session.commit()
    send(intake, "devices/OVEN/telemetry", [hot(1), hot(2, 5000.0), hot(3, 20.0)])
    send(intake, "devices/OVEN/telemetry", b"{")
    assert replay(client, device_id="OVEN")["accepted"] == 0
    device(client, "OVEN", limits={"temperature": [-60, 1000]})
    done = replay(client, device_id="OVEN")
    assert (done["tried"], done["accepted"], done["readings"], done["refused"]) == (3, 1, 1, 2)
    assert (done["next_after_id"], done["stopped"]) == (None, None)
    assert [refusal["reason"].split(":")[0] for refusal in done["refusals"]] == [
        "temperature = 5000 is outside its plausible limits -60 to 1000",
        "the payload is not valid JSON",
    ]
    query = "start_time=2026-02-12T00:00:00Z&end_time=2026-02-13T00:00:00Z"
    items = client.get(f"/api/v1/data/telemetry/OVEN?{query}").json()["data"]["items"]
    assert [(i["temperature"], i["enrichment_status"]) for i in items] == [(400.0, "success"), (20.0, "failed")]
    # It came when it came: what arrived for the same moment since then is newer.
    stored = open_store_read(intake, "OVEN")
    assert stored["received_at"].to_pylist() == [RECEIVED, RECEIVED]
    (alert,) = session.exec(select(Alert))
    assert (alert.device_id, alert.actual_value) == ("OVEN", 400.0)
    assert len(paginate(client, "replayed=true")) == 1
    assert len(paginate(client, "replayed=false")) == 2
    again = replay(client)
    assert (again["accepted"], again["refused"]) == (0, 2)
    assert len(session.exec(select(Alert)).all()) == 1
    assert session.get(DirtyDay, ("OVEN", RECEIVED.date())) is not None


def open_store_read(intake: Intake, device_id: str) -> Any:
    day = microseconds(RECEIVED.replace(hour=0, minute=0, second=0))
    return intake._store.read(device_id, day, day + 86_400_000_000, context=True)


def test_the_rest_of_a_payload_becomes_rows_of_its_own(
    client: TestClient, session: Session, engine: Engine, settings: Settings
) -> None:
    payload = json.dumps([hot(1, 30.0), hot(2, 9999.0), hot(3, 40.0)]).encode()
    row = QuarantinedReading(device_id="D1", topic="devices/D1/telemetry", payload=payload, received_at=RECEIVED,
                             reason="the platform failed on it; see the log of ingestion")  # fmt: skip
    session.add(row)
    session.commit()
    done = replay(client, ids=[row.id])
    assert (done["accepted"], done["readings"], done["refused"]) == (1, 2, 1)
    assert done["refusals"][0]["id"] == row.id
    (rest,) = paginate(client, "replayed=false")
    assert (json.loads(rest["payload"]), rest["received_at"]) == (hot(2, 9999.0), "2026-02-12T10:00:01Z")


def test_selections(client: TestClient, intake: Intake, monkeypatch: Any) -> None:
    for i in range(5):
        send(intake, f"devices/D{i % 2}/telemetry", hot(i))
    ids = sorted(item["id"] for item in paginate(client))
    device(client, "D0", limits={"temperature": [-60, 1000]})
    device(client, "D1", limits={"temperature": [-60, 1000]})
    assert replay(client, ids=[ids[0], 10**9])["tried"] == 1
    assert replay(client, metric="power")["tried"] == 0
    assert replay(client, reason="NO JSON")["tried"] == 0
    assert replay(client, end_time="2026-02-12T10:00:01Z")["tried"] == 0
    monkeypatch.setattr("serving.quarantine.routes.MAX_REPLAYED", 2)
    first = replay(client, metric="temperature")
    assert (first["tried"], first["next_after_id"]) == (2, ids[2])
    second = replay(client, metric="temperature", after_id=first["next_after_id"])
    assert (second["tried"], second["next_after_id"]) == (2, ids[4])
    assert replay(client, after_id=second["next_after_id"])["tried"] == 0
    refused: list[dict[str, Any]] = [
        {"ids": []}, {"ids": ["x"]}, {"ids": [0]}, {"device": "D1"}, {"after_id": -1}, {"start_time": "now"}
    ]  # fmt: skip
    for wrong in refused:
        assert client.post("/api/v1/data/quarantine/replay", json=wrong).status_code == 422


def test_a_store_that_goes_away_leaves_the_rest_for_later(settings: Settings, intake: Intake, monkeypatch: Any) -> None:
    monkeypatch.setattr(quarantine, "PAGE", 2)
    with TestClient(create_app(settings), base_url=BASE, raise_server_exceptions=False) as client:
        for i in range(5):
            send(intake, "devices/D1/telemetry", hot(i))
        device(client, "D1", limits={"temperature": [-60, 1000]})
        store = client.app.state.telemetry  # type: ignore[attr-defined]
        write, calls = store.write, []

        def goes_away(readings: Any) -> Any:
            calls.append(len(readings))
            if len(calls) > 1:
                raise StoreUnavailable("the power is out")
            return write(readings)

        monkeypatch.setattr(store, "write", goes_away)
        done = replay(client)
        assert (done["tried"], done["accepted"]) == (2, 2)
        assert done["stopped"] == "a store does not answer: the power is out"
        assert client.post("/api/v1/data/quarantine/replay", json={}).status_code == 503
        monkeypatch.setattr(store, "write", write)
        rest = replay(client, after_id=done["next_after_id"])
        assert (rest["tried"], rest["accepted"], rest["stopped"]) == (3, 3, None)


def test_what_the_store_refuses_and_what_cannot_be_kept(
    settings: Settings, engine: Engine, intake: Intake, client: TestClient, monkeypatch: Any
) -> None:
    for i in range(3):
        send(intake, "devices/D1/telemetry", hot(i))
    device(client, "D1", limits={"temperature": [-60, 1000]})
    store = intake._store
    write = store.write

    def picky(readings: Any) -> Any:
        times = [reading.time % 60_000_000 // 1_000_000 for reading in readings]
        if 1 in times:
            raise ArithmeticError("a fault of the platform")
        refused = [Refused(r, "field type conflict") for r, second in zip(readings, times, strict=True) if second == 2]
        write([r for r, second in zip(readings, times, strict=True) if second != 2])
        return refused

    monkeypatch.setattr(store, "write", picky)
    with Session(engine) as session:
        ids = sorted(i for i in session.exec(select(QuarantinedReading.id)) if i)
    done = quarantine.replay(settings, engine, store, ids)
    assert (done.tried, done.accepted, done.readings) == (3, 1, 1)
    assert done.refused == [
        (ids[1], "the platform failed on it; see its log"),
        (ids[2], "field type conflict"),
    ]
    waiting = {item["id"]: item["reason"] for item in paginate(client, "replayed=false")}
    assert set(waiting) - set(ids)
    assert ids[1] in waiting
    assert "the telemetry store refused it: field type conflict" in waiting.values()


def test_one_replay_at_a_time(client: TestClient, engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('energy/replay'))"))
        answer = client.post("/api/v1/data/quarantine/replay", json={})
    assert answer.status_code == 409
    assert "another replay" in answer.json()["detail"]
    assert replay(client)["tried"] == 0


def test_rows_of_another_topic_are_refused(client: TestClient, session: Session) -> None:
    session.add(QuarantinedReading(topic="elsewhere", payload=b"{}", reason="?"))
    session.commit()
    (refusal,) = replay(client)["refusals"]
    assert refusal["reason"] == "the topic elsewhere does not match MQTT_TOPIC=devices/+/telemetry"


def test_the_command_lists_and_replays(client: TestClient, intake: Intake, monkeypatch: Any) -> None:
    for i in range(3):
        send(intake, "devices/D1/telemetry", hot(i, 400.0 + i))
    send(intake, "devices/D2/telemetry", b"\xff")
    run = CliRunner()
    lines = run.invoke(energy, ["quarantine", "list"]).output.splitlines()
    assert len(lines) == 4
    assert "2026-02-12T10:00:01Z  D1  temperature = 402 is outside" in lines[1]
    some = run.invoke(
        energy, ["quarantine", "list", "--device", "D1", "--waiting", "--limit", "2", "--since", RECEIVED.isoformat()]
    )
    assert len(some.output.splitlines()) == 2
    device(client, "D1", limits={"temperature": [-60, 401.5]})
    monkeypatch.setattr(quarantine, "MAX_REPLAYED", 2)
    result = run.invoke(energy, ["quarantine", "replay", "--all"])
    assert result.exit_code == 0
    *refused, last = result.output.splitlines()
    assert last == "2 messages accepted with 2 readings, 2 refused again"
    assert "temperature = 402 is outside its plausible limits -60 to 401.5" in refused[0]
    (replayed,) = {item["device_id"] for item in paginate(client, "replayed=true")}
    assert replayed == "D1"
    assert "(replayed)" in run.invoke(energy, ["quarantine", "list", "--replayed"]).output
    mistyped = run.invoke(energy, ["quarantine", "replay", "987654321"])
    assert mistyped.exit_code == 1
    assert "not waiting: 987654321;" in mistyped.output
