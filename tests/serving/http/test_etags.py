from typing import Any

import pytest
from fastapi.testclient import TestClient

WINDOW = {"from": "2026-02-12T10:00:00Z", "to": "2026-02-12T11:00:00Z"}


@pytest.mark.parametrize(
    ("path", "body", "key", "change"),
    [
        ("devices", {"device_id": "D1", "device_name": "n", "device_type": "t"}, "device_id", {"model": "M"}),
        (
            "rules",
            {"rule_name": "n", "property": "power", "condition": ">", "threshold": 1, "scope": "all_devices",
             "notification_channels": []},
            "rule_id", {"threshold": 2},
        ),
        ("maintenance-windows", WINDOW, "window_id", WINDOW | {"reason": "Bearing"}),
    ],
)  # fmt: skip
def test_a_change_of_what_has_changed_since_is_refused(
    client: TestClient, path: str, body: dict[str, Any], key: str, change: dict[str, Any]
) -> None:
    made = client.post(f"/api/v1/{path}", json=body)
    assert made.status_code == 201, made.text
    one = f"/api/v1/{path}/{made.json()['data'][key]}"
    first = client.get(one)
    tag = first.headers["etag"]
    assert "last-modified" in first.headers
    for kept in (f'"x", {tag}', f"W/{tag}"):
        known = client.get(one, headers={"If-None-Match": kept})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert client.put(one, json=change, headers={"If-Match": f'"x", W/{tag}'}).status_code == 200
    late = client.put(one, json=change, headers={"If-Match": tag})
    assert (late.status_code, late.json()["success"]) == (412, False)
    assert client.put(one, json=change, headers={"If-Match": "*"}).status_code == 200
    for no_tag in ("", "x", '"a" "b"'):
        wrong = client.put(one, json=change, headers={"If-Match": no_tag})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "if-match"), no_tag
    assert client.get(one, headers={"If-None-Match": tag}).status_code == 200
