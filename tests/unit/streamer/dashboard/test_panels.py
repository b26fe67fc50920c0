"""What all pages are told alike: a panel is one entry, and what is wrong with one is its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from streamer.dashboard.hub import Hub
from streamer.dashboard.messages import encode
from streamer.dashboard.panels import PANELS, Panel
from streamer.dashboard.requests import Watch
from streamer.dashboard.server import application
from streamer.dashboard.view import RunView
from tests.served import Served
from tests.unit.runs import make_run

SPOTS = Panel(
    "spots",
    lambda run: len(run.archive.peaks),
    lambda run: encode("spots", {"count": len(run.archive.peaks)}),
)


def fail(run: RunView) -> bytes:
    raise RuntimeError("out of ink")


@pytest.fixture
def view(tmp_path) -> RunView:
    return RunView(make_run(tmp_path / "run").path)


@contextmanager
def listening(view: RunView, *panels: Panel) -> Iterator[ClientConnection]:
    """Be one of the pages that look at a run."""
    hub = Hub(view, panels=panels)
    with (
        Served(application(hub)) as served,
        connect(f"ws://127.0.0.1:{served.port}/ws", compression=None) as page,
    ):
        yield page


def heard(page: ClientConnection, wanted: set[str]) -> dict[str, dict]:
    """Return the first header of each type of message."""
    found: dict[str, dict] = {}
    while not wanted <= set(found):
        message = page.recv(timeout=20)
        header = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
        found.setdefault(header["type"], header)
    return found


def test_a_panel_is_one_entry(view):
    with listening(view, *PANELS, SPOTS) as page:
        messages = heard(page, {"hello", "health", "image", "tracks", "cell", "spots"})
    assert messages["spots"]["count"] == len(view.archive.peaks) > 0


def test_a_panel_without_anything_to_tell_says_nothing(view):
    silent = Panel("silent", lambda run: None, fail)
    with listening(view, silent, SPOTS) as page:
        messages = heard(page, {"spots", "image"})
    assert not {"silent", "problem"} & set(messages)


@pytest.mark.parametrize(
    "broken",
    [Panel("broken", lambda run: 1, fail), Panel("broken", fail, lambda run: encode("broken"))],
    ids=["message", "version"],
)
def test_a_panel_that_fails_takes_no_other_with_it(view, broken):
    with listening(view, broken, SPOTS) as page:
        messages = heard(page, {"spots", "image", "problem"})
    assert messages["problem"]["text"] == "broken cannot be shown: see the log"
    assert "broken" not in messages


def test_without_times_drifts_are_told_by_frames(tmp_path):
    view = RunView(make_run(tmp_path / "run", timed=False).path)
    with closing(view):
        view.archive.refresh(60.0)
        lines = view.drift(Watch(tracks=(0,), quantity="distance"))
        assert lines.header["x"] == "frame"


def test_panels_have_names_of_their_own():
    names = [panel.name for panel in PANELS]
    assert len({*names, "hello", "health", "image", "drift", "patch", "problem"}) == len(names) + 6


def test_who_says_nothing_keeps_nobody_out(view, monkeypatch):
    monkeypatch.setattr("streamer.dashboard.hub._MOST_VIEWERS", 3)
    with Served(application(Hub(view))) as served, ExitStack() as stack:
        url = f"ws://127.0.0.1:{served.port}/ws"
        pages = []
        for _ in range(3):
            pages.append(stack.enter_context(connect(url, compression=None)))
            heard(pages[-1], {"hello"})
        pages[0].send('{"type": "show", "frame": 0}')
        heard(pages[0], {"image"})
        late = stack.enter_context(connect(url, compression=None))
        heard(late, {"hello"})
        with pytest.raises(ConnectionClosed):
            heard(pages[1], {"never"})
        for page in (pages[0], pages[2]):
            heard(page, {"health"})
