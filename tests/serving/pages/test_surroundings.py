"""What all pages have in common: sign-in, errors, tokens, headers, addresses."""

import hashlib
import json
import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from serving.pages import static_files
from storage.access import SESSION_COOKIE
from tests.support.vendor import FOLDER, MANIFEST

HTML = {"Accept": "text/html"}
SAME_SITE = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
PAGES = ("/",)


def token_of(page: str) -> str:
    found = re.search(r'"X-CSRF-Token": "([0-9a-f]{64})"', page)
    assert found, page
    return found[1]


def test_the_first_page_is_for_browsers_and_json_for_programs(client: TestClient) -> None:
    assert client.get("/").json()["service"] == "energy-platform"
    page = client.get("/", headers=HTML)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "No machine has sent anything yet" in page.text


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_strict_and_name_no_other_host(client: TestClient, path: str) -> None:
    page = client.get(path, headers=HTML)
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in page.headers["content-security-policy"]
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page.text)
    assert not re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", page.text)
    for address in re.findall(r'(?:src|href)="(\./static[^"]+)"', page.text):
        file = client.get(address.removeprefix("."))
        assert file.status_code == 200, address
        assert "immutable" in file.headers["cache-control"]


def test_under_a_prefix_every_address_is_relative(client: TestClient) -> None:
    page = client.get("/backend/device/", headers=HTML)
    assert not re.findall(r'(?:src|href|action)="/', page.text)


def test_who_is_not_signed_in_comes_to_the_login_and_back(
    client: TestClient, key: Callable[..., dict[str, str]]
) -> None:
    secret = key("read")["X-API-Key"]
    led = client.get("/", headers=HTML, follow_redirects=False)
    assert (led.status_code, led.headers["location"]) == (303, "./login")
    page = client.get("/login?next=machines%3Fpage%3D2", headers=HTML)
    form = {"key": secret, "next": "machines?page=2", "csrf_token": token_of(page.text)}
    signed_in = client.post("/login", data=form, headers=SAME_SITE, follow_redirects=False)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "./machines?page=2")
    assert SESSION_COOKIE in signed_in.cookies
    assert "Sign out" in client.get("/", headers=HTML).text


def test_a_wrong_key_is_refused_in_the_apis_words(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    key("read")
    page = client.get("/login", headers=HTML)
    form = {"key": "ek_wrong", "csrf_token": token_of(page.text)}
    refused = client.post("/login", data=form, headers=SAME_SITE)
    assert refused.status_code == 401
    assert "the key is unknown, revoked or expired" in refused.text


@pytest.mark.parametrize("following", ["//evil.example", "\\\\evil.example", "https://evil.example", "javascript:1"])
def test_the_login_leads_to_no_other_site(client: TestClient, following: str) -> None:
    page = client.get("/login", params={"next": following}, headers=HTML).text
    found = re.search(r'name="next" value="([^"]*)"', page)
    assert found
    assert found[1] in ("", "evil.example")


def test_a_write_without_the_token_is_refused(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    secret = key("admin")["X-API-Key"]
    page = client.get("/login", headers=HTML)
    assert client.post("/login", data={"key": secret}, headers=SAME_SITE).status_code == 403
    stolen = {"key": secret, "csrf_token": hashlib.sha256(b"csrf:").hexdigest()}
    assert client.post("/login", data=stolen, headers=SAME_SITE).status_code == 403
    client.cookies.clear()  # a page of another site: the token alone is worth nothing
    alone = {"key": secret, "csrf_token": token_of(page.text)}
    assert client.post("/login", data=alone, headers=SAME_SITE).status_code == 403


def test_signing_out_ends_the_session(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    client.post("/api/v1/session", json={"key": key("read")["X-API-Key"]})
    page = client.get("/", headers=HTML)
    form = {"csrf_token": token_of(page.text)}
    assert client.post("/logout", data=form, headers={"Origin": "http://evil.example"}).status_code == 403
    done = client.post("/logout", data=form, headers=SAME_SITE, follow_redirects=False)
    assert done.headers["location"] == "./login"
    assert client.get("/api/v1/session").status_code == 401


def test_vendored_files_are_those_of_the_manifest() -> None:
    expected = {
        file["name"]: file["sha256"] for library in json.loads(MANIFEST.read_text()) for file in library["files"]
    }
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir() if path != MANIFEST}
    assert found == expected, "`make vendor` fetches them as the manifest names them"


def test_scripts_and_styles_stay_small() -> None:
    sizes = [path.stat().st_size for path in static_files.FOLDER.rglob("*") if path.suffix in (".js", ".css")]
    assert sum(sizes) < 200_000


def test_a_browser_that_is_lost_gets_a_page_and_a_program_json(client: TestClient) -> None:
    lost = client.get("/machinery", headers=HTML)
    assert (lost.status_code, "there is nothing at /machinery" in lost.text) == (404, True)
    assert "Go to the first page" in lost.text
    assert client.get("/machinery").json()["status"] == 404
    unknown = client.get("/machines/nobody", headers=HTML)
    assert (unknown.status_code, "there is no device nobody" in unknown.text) == (404, True)
