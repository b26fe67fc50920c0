"""The registration of a run, as far as it can be told without a Tiled server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.console import Console

from streamer.errors import UserError
from streamer.export.session import hand_over
from streamer.export.tiled import KEY, register_run
from tests.unit.runs import make_run


class Elsewhere(BaseHTTPRequestHandler):
    """Sends everybody to another path, and notes who comes with a key."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(307)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Elsewhere.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_key_goes_to_the_server_that_was_named_alone(tmp_path, monkeypatch, server):
    monkeypatch.setenv(KEY, "secret")
    run = make_run(tmp_path / "today")
    with pytest.raises(UserError, match="307"):
        register_run(run.path, f"http://127.0.0.1:{server.server_port}")
    assert Elsewhere.asked == [("/api/v1/metadata/", "Apikey secret")]
    assert not (run.path / "export").exists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("127.0.0.1:8000", "http://HOST"),
        ("http://127.0.0.1/api/v1/array/full/x", "/metadata/NAME"),
        ("http://127.0.0.1/api/v1?api_key=secret", KEY),
    ],
)
def test_an_address_that_is_none_is_told(tmp_path, url, why):
    run = make_run(tmp_path / "today")
    with pytest.raises(UserError, match=why) as caught:
        register_run(run.path, url)
    assert "secret" not in str(caught.value)
    assert not (run.path / "export").exists()


@pytest.mark.parametrize(("format_", "tiled"), [(None, None), ("csv", "http://127.0.0.1")])
def test_either_a_format_or_a_server_is_given(tmp_path, format_, tiled):
    with pytest.raises(UserError, match="either --format or --tiled"):
        hand_over(tmp_path, Console(), format_, tiled, None)
