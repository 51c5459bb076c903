"""What Dagster's UI shows beside assets."""

import pytest

from orchestration.metadata import device_pages


@pytest.mark.parametrize(
    ("variables", "page"),
    [
        ({"API_PORT": "8123"}, "http://127.0.0.1:8123/machines/D1"),
        ({"API_PUBLIC_URL": "https://plant.example.com/energy/"}, "https://plant.example.com/energy/machines/D1"),
    ],
)
def test_links_lead_to_where_people_reach_the_api(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], page: str
) -> None:
    for name in ("API_PORT", "API_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert device_pages("D1")["machine"].url == page
