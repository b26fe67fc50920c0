"""Who is served over HTTP: pages of our own, and who has the token where there is one."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

__all__ = ["Guard", "is_own_name", "is_own_origin"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BEARER = "bearer "
_ASK = [(b"www-authenticate", b"Bearer")]


class Guard:
    """Lets through to an ASGI application what it should serve.

    A browser sends requests to any address for any page that it shows. One of another site names
    that site as its origin; one whose name was made to mean our address names itself as the host.
    So no origin but our own is served, and under no name but addresses and those of this machine.

    The token comes as ``Authorization: Bearer``, or behind ``?token=``, which is turned into a
    cookie that no script and no other site can use.

    Parameters
    ----------
    app
        What is served.
    token
        Who has not got it is not served; None: nobody needs one.
    host
        Another name under which it may be asked for.
    """

    def __init__(self, app: App, token: str | None = None, host: str = "") -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._host = host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or say why not; see ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        host, origin = headers.get("host", ""), headers.get("origin")
        if not (is_own_name(host) or (self._host and _name(host) == self._host)):
            text = "asked for under a name that is not this machine's: use its address or localhost"
            await _refuse(scope, send, 403, text)
        elif not is_own_origin(origin, host):
            await _refuse(scope, send, 403, "asked for by a page of another site")
        elif self._token is None or self._has_token(scope, headers):
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and self._is_token(_asked(scope).get("token", "")):
            await self._let_in(scope, send)
        else:
            text = "no token: use the address that the run printed, with all that is behind the ?"
            await _refuse(scope, send, 401, text, _ASK)

    def _is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(text.encode(), self._token)

    def _has_token(self, scope: Scope, headers: dict[str, str]) -> bool:
        given = headers.get("authorization", "")
        if given.lower().startswith(_BEARER):
            return self._is_token(given[len(_BEARER) :].strip())
        cookies = (one.strip().partition("=") for one in headers.get("cookie", "").split(";"))
        wanted = _cookie_name(scope)
        return any(name == wanted and self._is_token(value) for name, _, value in cookies)

    async def _let_in(self, scope: Scope, send: Send) -> None:
        """Have the browser keep the token and ask again, so that it stands in no address."""
        left = urlencode({k: v for k, v in _asked(scope).items() if k != "token"})
        # Not the path as it was asked for: two slashes at its start would name another site.
        where = "/" + quote(scope["path"].lstrip("/")) + (f"?{left}" if left else "")
        value = f"{_cookie_name(scope)}={(self._token or b'').decode()}"
        cookie = f"{value}; Path=/; HttpOnly; SameSite=Strict"
        headers = [
            (b"location", where.encode()),
            (b"set-cookie", cookie.encode("latin-1")),
            (b"content-length", b"0"),
        ]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def is_own_name(host: str) -> bool:
    """Tell whether a ``Host`` is an address or a name of this machine."""
    name = _name(host)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in _own_names()
    return True


def is_own_origin(origin: str | None, host: str) -> bool:
    """Tell whether a request comes from a page of the host it asks, or from no page at all."""
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@cache
def _own_names() -> set[str]:
    return {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}


def _asked(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def _cookie_name(scope: Scope) -> str:
    """Return a name of its own for each port: browsers give cookies to all ports of a host."""
    return f"braggstream-{(scope.get('server') or ('', 0))[1]}"


async def _refuse(
    scope: Scope, send: Send, status: int, text: str, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    body = f"{text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *(more or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
