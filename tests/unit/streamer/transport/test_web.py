"""What is served over HTTP, to whom, and how little can be done against it by being slow."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from streamer.config import load_config
from streamer.errors import UserError
from streamer.transport import web
from streamer.transport.guard import Guard
from streamer.transport.metrics import Metrics
from streamer.transport.token import needs_token, own_token, token_path
from streamer.transport.web import web_server

TOKEN = "a-token-of-a-run-0123"


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"it"})


@contextmanager
def served(token: str | None = None, host: str = "") -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = web_server(Guard(app, token, host), lifespan="off", ws="none")
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def ask(port: int, path: str = "/", **headers: str):
    """Return status, headers and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=10) as page:
            return page.status, page.headers, page.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_only_our_own_names_and_pages_are_served():
    with served() as port:
        assert ask(port)[0] == 200
        assert ask(port, Host=f"localhost:{port}")[0] == 200
        assert ask(port, Host=f"evil.example:{port}")[0] == 403
        assert ask(port, Origin="http://evil.example")[0] == 403
        assert ask(port, Origin="null")[0] == 403
        assert ask(port, Origin=f"http://127.0.0.1:{port}")[0] == 200


def test_a_name_that_the_configuration_gives_is_ours():
    with served(host="beamline.example") as port:
        assert ask(port, Host=f"beamline.example:{port}")[0] == 200
        assert ask(port, Host=f"other.example:{port}")[0] == 403


def test_who_has_not_the_token_is_not_served():
    with served(TOKEN) as port:
        status, headers, body = ask(port)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert b"address that the run printed" in body
        for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "\xe4"):
            assert ask(port, Authorization=f"Bearer {wrong}")[0] == 401
            assert ask(port, Cookie=f"braggstream-{port}={wrong}")[0] == 401
        assert ask(port, f"/?token={TOKEN[:-1]}")[0] == 401
        assert ask(port, Authorization=f"Bearer {TOKEN}")[0] == 200


def test_the_token_of_an_address_becomes_a_cookie():
    with served(TOKEN) as port:
        status, headers, _ = ask(port, f"//evil.example/a?token={TOKEN}&b=1")
        assert (status, headers["Location"]) == (303, "/evil.example/a?b=1")
        cookie, *attributes = headers["Set-Cookie"].split("; ")
        assert cookie == f"braggstream-{port}={TOKEN}"
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(attributes)
        assert ask(port, Cookie=f'other="a b"; {cookie}; c=1')[0] == 200
        assert ask(port, Cookie=f"braggstream-{port + 1}={TOKEN}")[0] == 401


def test_a_websocket_needs_the_token_too():
    async def attempt(**headers: str) -> list[str]:
        async def inner(scope, receive, send):
            await send({"type": "websocket.accept"})

        sent = []

        async def send(message):
            sent.append(message["type"])

        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "websocket", "headers": pairs, "server": ("h", 1), "query_string": b""}
        await Guard(inner, TOKEN)(scope, None, send)
        return sent

    host = {"host": "127.0.0.1:1"}
    assert asyncio.run(attempt(**host)) == ["websocket.close"]
    assert asyncio.run(attempt(**host, cookie=f"braggstream-1={TOKEN}")) == ["websocket.accept"]
    assert asyncio.run(
        attempt(**host, cookie=f"braggstream-1={TOKEN}", origin="http://evil.example")
    ) == ["websocket.close"]


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_a_thousand_half_requests_keep_nobody_out(said):
    with served() as port, ExitStack() as stack:
        for _ in range(1000):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(said)
        assert ask(port)[0] == 200


def trickle(one: socket.socket) -> None:
    """Send a byte now and then until the other side has had enough."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        try:
            one.sendall(b"X")
            if not one.recv(1000):
                return
        except TimeoutError:
            continue
        except OSError:
            return
    pytest.fail("it was listened to for ever")


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HT",
    ],
)
def test_a_request_that_trickles_in_is_given_up(monkeypatch, begin):
    monkeypatch.setattr(web, "REQUEST_S", 0.3)
    with served() as port, socket.create_connection(("127.0.0.1", port), timeout=0.02) as one:
        one.sendall(begin)
        trickle(one)
        assert ask(port)[0] == 200


def test_metrics_ask_for_the_token_and_our_name():
    metrics = Metrics()
    port = metrics.serve("127.0.0.1", 0, TOKEN)
    assert ask(port, "/metrics")[0] == 401
    assert ask(port, "/metrics", Host="evil.example", Authorization=f"Bearer {TOKEN}")[0] == 403
    status, _, body = ask(port, "/metrics", Authorization=f"Bearer {TOKEN}")
    assert (status, b"braggstream_frames_total" in body) == (200, True)


@pytest.mark.parametrize(
    ("host", "settings", "needs"),
    [
        ("127.0.0.1", [], False),
        ("localhost", [], False),
        ("::1", [], False),
        ("0.0.0.0", [], True),
        ("beamline", [], True),
        ("0.0.0.0", ["insecure=true"], False),
    ],
)
def test_a_token_is_needed_where_others_reach(host, settings, needs):
    assert needs_token(host, load_config(None, settings)) == needs


def test_a_token_is_made_once_and_for_its_user_alone(tmp_path):
    path = token_path(load_config(), tmp_path)
    token = own_token(path)
    assert own_token(path) == token
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 20, b"two words and more of them"])
def test_what_is_no_token_is_refused(tmp_path, content):
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(UserError, match="token"):
        own_token(path)
