from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families


def samples(client: TestClient) -> dict[tuple[str, ...], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(client: TestClient) -> None:
    client.get("/api/v1/devices/D1")
    client.get("/api/v1/devices/D2")
    client.post("/api/v1/devices", json={})
    client.get("/no/such/path")
    client.request("BREW", "/health")
    found = samples(client)
    requests = "energy_api_requests_total"
    assert found[requests, "GET", "/api/v1/devices/{device_id}", "404"] == 2
    assert found[requests, "POST", "/api/v1/devices", "422"] == 1
    assert found[requests, "GET", "none", "404"] == 1
    assert [key[1] for key in found if key[0] == requests and key[3] == "405"] == ["other"]
    assert found["energy_api_request_seconds_count", "/api/v1/devices/{device_id}"] == 2
    assert found["energy_api_live_clients",] == 0
    assert found["process_resident_memory_bytes",] > 1e6
    assert samples(client)[requests, "GET", "/metrics", "200"] == 1
