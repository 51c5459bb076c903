"""Heavy reads of one tenant: another tenant's reads do not wait for them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from assets.datasets import TelemetryReader
from storage.devices import Device
from tests.support.servers import wait_until


def test_a_tenants_first_read_waits_for_nobody(
    client: TestClient, session: Session, key: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for device_id, tenant_id in (("A1", "alpha"), ("B1", "beta")):
        session.add(Device(device_id=device_id, tenant_id=tenant_id, device_name="n", device_type="t"))
    session.commit()
    alpha, beta = key("read", "alpha"), key("read", "beta")
    reading, ended = [], threading.Event()
    read = TelemetryReader.read_with_context

    def read_slowly(reader: TelemetryReader, device_id: str, *arguments: Any, **options: Any) -> Any:
        if device_id == "A1":
            reading.append(device_id)
            ended.wait(30)
        return read(reader, device_id, *arguments, **options)

    monkeypatch.setattr(TelemetryReader, "read_with_context", read_slowly)
    with ThreadPoolExecutor(12) as pool:
        heavy = [pool.submit(client.get, "/api/v1/data/telemetry/A1", headers=alpha) for _ in range(12)]
        try:
            wait_until(lambda: len(reading) == 4, "as many as may run do")
            for _ in range(3):
                assert client.get("/api/v1/data/telemetry/B1", headers=beta).status_code == 200
            assert len(reading) == 4
        finally:
            ended.set()
        assert {answer.result(30).status_code for answer in heavy} == {200}
