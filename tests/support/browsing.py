"""A browser's way through the pages, without a browser: pages, parts that htmx asks for, and forms with their token."""

import re
from typing import Any

import httpx
from fastapi.testclient import TestClient

HTML = {"Accept": "text/html"}
SAME_SITE = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}


class Browser:
    """One browser, signed in with a key if one is given."""

    def __init__(self, client: TestClient, key: dict[str, str] | None = None) -> None:
        self._client = client
        client.cookies.clear()
        if key:
            assert client.post("/api/v1/session", json={"key": key["X-API-Key"]}).status_code == 200

    def page(self, path: str, status: int = 200) -> str:
        answer = self._client.get(path, headers=HTML)
        assert answer.status_code == status, f"{path}: {answer.text[:2000]}"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        text: str = answer.text
        assert not re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=\"", text), path
        return text

    def part(self, path: str) -> str:
        answer = self._client.get(path, headers=HTML | {"HX-Request": "true"})
        assert answer.status_code == 200, f"{path}: {answer.text[:2000]}"
        text: str = answer.text
        assert "<html" not in text
        return text

    def json(self, path: str) -> Any:
        answer = self._client.get(path, headers={"Accept": "application/json"})
        assert answer.status_code == 200, f"{path}: {answer.text[:2000]}"
        return answer.json()

    def send(
        self,
        path: str,
        *,
        of: str = "/settings",
        token: str | None = None,
        root: str = "",
        fields: Any = None,
        **more: Any,
    ) -> httpx.Response:
        """Send a form as htmx does, with the token of the page `of`, or another one; `root` is the page's way up."""
        if token is None:
            found = re.search(r'name="csrf_token" value="(\w+)"|"X-CSRF-Token": "(\w+)"', self.page(of))
            assert found
            token = found[1] or found[2]
        headers = HTML | SAME_SITE | {"HX-Request": "true", "X-CSRF-Token": token, "X-Page-Root": root}
        answer: httpx.Response = self._client.post(
            path, data={**(fields or {}), **more}, headers=headers, follow_redirects=False
        )
        return answer
