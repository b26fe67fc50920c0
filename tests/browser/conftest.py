from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.fake import FakeRun, FakeServer

SCREENSHOTS = "BRAGGSTREAM_SCREENSHOTS"
"""Names the folder that keeps what pages looked like; by default the test's own."""
PATIENCE_S = 60.0
"""A page that has not come by then does not: two cores are shared by a dozen processes here."""


def pytest_configure(config: pytest.Config) -> None:
    # Known to pytest-xdist, which may be switched off.
    config.addinivalue_line("markers", "xdist_group(name): tests for the same worker")


@pytest.fixture(scope="package")  # its event loop is in the way of other packages' own
def browser() -> Iterator[Any]:
    """Chromium, or the reason why there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("needs Playwright: pip install 'braggstream[test]'")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium)
        yield launched
        launched.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages, and sees to it that they ask nobody else and do not complain."""
    contexts: list[Any] = []
    complaints: list[str] = []
    hosts: set[str | None] = set()

    def heard(message: Any) -> None:
        # The browser itself says so when a server is away; the page handles it.
        away = ("WebSocket connection to", "ERR_CONNECTION_REFUSED")
        if message.type in ("error", "warning") and not any(a in message.text for a in away):
            complaints.append(message.text)

    def opened(url: str, *, width: int = 1440, height: int = 900, **options: Any) -> Any:
        options = {"viewport": {"width": width, "height": height}, "color_scheme": "dark"} | options
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(1e3 * PATIENCE_S)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints
    assert hosts <= {"127.0.0.1", None}  # None: data: and blob:


@pytest.fixture
def keep(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Keeps what a page looks like."""

    def kept(page: Any, name: str = "page", **options: Any) -> Path:
        folder = Path(os.environ.get(SCREENSHOTS, tmp_path))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{request.node.name}-{name}.png"
        page.screenshot(path=path, **options)
        return path

    return kept


@pytest.fixture
def run() -> FakeRun:
    return FakeRun()


@pytest.fixture
def server(run: FakeRun) -> Iterator[FakeServer]:
    with FakeServer(run.answer, run.greeting) as started:
        yield started


@pytest.fixture
def page(server: FakeServer, look: Callable[..., Any]) -> Any:
    """A page that shows the whole of the fake run."""
    opened = look(server.url)
    ready(opened)
    return opened


def until(page: Any, expression: str, seconds: float = PATIENCE_S) -> None:
    """Wait until an expression holds on a page.

    Playwright's own way is a script on the page, which the page's security policy forbids.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"{expression}: {page.inner_text('header')}"
        page.wait_for_timeout(15)


def ready(page: Any, tracks: int = 6) -> None:
    """Wait until a page shows a frame and drifts."""
    until(page, f"view.images > 0 && view.drift.lines.length === {tracks}")


def shown(page: Any) -> dict[str, Any]:
    """Return what a page shows."""
    return page.evaluate("view")


def at_peak(page: Any, row: float, col: float) -> tuple[float, float]:
    """Return where on the page a place of the detector is."""
    x, y = page.evaluate(f"view.place({row}, {col})")
    box = page.locator("#image").bounding_box()
    return box["x"] + x, box["y"] + y
