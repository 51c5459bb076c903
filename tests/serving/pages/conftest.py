import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SIZES = {"phone": (390, 844), "desktop": (1280, 900), "wall": (2560, 1440)}

# A test's port may be one that Chromium takes for another service's.
UNSAFE_PORTS = "--explicitly-allowed-ports=2049,3659,4045,4190,5060,5061,6000,6566,6665,6666,6667,6668,6669,6697,10080"

OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, without a window.

    Not longer than a module: while Playwright runs, no other test of this thread can run an event loop.
    """
    path = shutil.which("chromium")
    if path is None:
        missing = "chromium is not on PATH (Debian: apt install chromium)"
        pytest.fail(missing) if os.environ.get("REQUIRE_SERVERS") == "1" else pytest.skip(missing)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - most tests of the pages need no browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", UNSAFE_PORTS])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[OpenPage]:
    """Opens pages in a browser profile of their own; none may log an error or ask another host for anything.

    With `refusals`, requests that the API refuses are no errors.
    """
    wrong: list[str] = []
    with ExitStack() as stack:

        def open_(
            url: str, size: str = "desktop", theme: str = "light", *, refusals: bool = False, **cookies: str
        ) -> "Page":
            width, height = SIZES[size]
            options: dict[str, Any] = {"viewport": {"width": width, "height": height}, "color_scheme": theme}
            context = browser.new_context(**options, timezone_id="Europe/Paris", locale="en-GB")
            stack.callback(context.close)
            context.add_cookies([{"name": name, "value": value, "url": url} for name, value in cookies.items()])
            page = context.new_page()
            ours = tuple(f"{scheme}://{url.split('/')[2]}/" for scheme in ("http", "ws"))
            page.on(
                "console",
                lambda m: (
                    None if m.type != "error" or _is_expected(m.text, refusals=refusals) else wrong.append(m.text)
                ),
            )
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda r: None if r.url.startswith((*ours, "data:")) else wrong.append(r.url))
            page.goto(url)
            return page

        yield open_
    assert not wrong


def _is_expected(text: str, *, refusals: bool) -> bool:
    """Whether the browser reports what some tests want: a server that it cannot reach, or a request that is refused."""
    words = (
        "ERR_CONNECTION",
        "WebSocket",
        "Failed to fetch",
        "htmx:error: timeout",
        *(("status of 404", "status of 422") if refusals else ()),
    )
    return any(word in text for word in words)
