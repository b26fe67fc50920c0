"""The HTTP API: paths, what they take, and how problems are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamer.dashboard.api import reading
from streamer.dashboard.api.answers import Change, Problem, Run, Runs, Wanted
from streamer.dashboard.api.document import CONTROL_HEADER, document
from streamer.dashboard.thresholds import RefusedError
from streamer.dashboard.view import RunView

__all__ = ["Asked", "RunsAtHand", "api_routes"]

_T = TypeVar("_T")
_MOST_BYTES = 1 << 12


class Asked(Protocol):
    """Who looks into a run."""

    async def ask(self, question: Callable[[RunView], _T]) -> _T:
        """Return the answer to a question about the run."""
        ...


class RunsAtHand(Protocol):
    """The runs that are served."""

    def rows(self) -> list[dict[str, Any]]:
        """Return what a list says of each, the newest first."""
        ...

    async def find(self, name: str) -> Asked:
        """Return who looks into a run.

        Raises
        ------
        RefusedError
            There is none of that name.
        """
        ...


Said = msgspec.Struct | dict[str, Any]
Answer = Callable[[Request], Awaitable[Said]]


def api_routes(runs: RunsAtHand) -> list[Route]:
    """Return the routes of the API."""

    async def listed(request: Request) -> Runs:
        return Runs(runs=[msgspec.convert(row, Run) for row in runs.rows()])

    def about(question: Callable[[Request], Callable[[RunView], msgspec.Struct]]) -> Answer:
        async def answer(request: Request) -> msgspec.Struct:
            put = question(request)  # what is asked wrongly is told first
            return await (await runs.find(request.path_params["run"])).ask(put)

        return answer

    async def changed(request: Request) -> msgspec.Struct:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise RefusedError(415, "send application/json")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise RefusedError(400, "that is too long for two thresholds")
        try:
            wanted = msgspec.json.decode(body, type=Wanted)
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, f"no thresholds: {error}") from None
        token = request.headers.get(CONTROL_HEADER, "")

        def change(view: RunView) -> Change:
            live = view.state.live
            made = view.thresholds.change(token, wanted.minval, wanted.minscore, live=live)
            return Change(
                time_ns=made.time_ns,
                minval=made.minval,
                minscore=made.minscore,
                series=None,
                frame=None,
            )

        return await (await runs.find(request.path_params["run"])).ask(change)

    async def described(request: Request) -> dict[str, Any]:
        return document()

    async def unknown(request: Request) -> msgspec.Struct:
        raise RefusedError(404, "there is no such path: see api/openapi.json")

    run = "/api/runs/{run}"
    gets: dict[str, Answer] = {
        "/api/openapi.json": described,
        "/api/runs": listed,
        f"{run}/status": about(lambda request: reading.status),
        f"{run}/tracks": about(lambda request: reading.tracks),
        f"{run}/tracks/{{track:int}}": about(_curve),
        f"{run}/frames/{{frame:int}}/peaks": about(_frame),
        f"{run}/frames/{{frame:int}}/pixels": about(_pixels),
        f"{run}/thresholds": about(lambda request: reading.thresholds),
    }
    return [
        Route(f"{run}/thresholds", _told(changed, 202), methods=["POST"]),
        *(Route(path, _told(answer), methods=["GET"]) for path, answer in gets.items()),
        Route("/api/{rest:path}", _told(unknown)),
    ]


def _curve(request: Request) -> Callable[[RunView], msgspec.Struct]:
    asked = request.query_params
    x: Literal["time", "frame"] = "frame" if asked.get("x", "time") == "frame" else "time"
    if asked.get("x", x) != x:
        raise RefusedError(400, "x is time or frame")
    points = _number(request, "points", 2000) or 0
    if not 2 <= points <= 20_000:
        raise RefusedError(400, "points is a number from 2 to 20,000")
    number = request.path_params["track"]
    return lambda view: reading.track(view, number, asked.get("quantity"), x, points)


def _frame(request: Request) -> Callable[[RunView], msgspec.Struct]:
    series, number = request.query_params.get("series"), request.path_params["frame"]
    return lambda view: reading.frame(view, series, number)


def _pixels(request: Request) -> Callable[[RunView], msgspec.Struct]:
    series, number = request.query_params.get("series"), request.path_params["frame"]
    row, col = (_number(request, name, 0) or 0 for name in ("row", "col"))
    rows, cols = (_number(request, name, None) for name in ("rows", "cols"))
    return lambda view: reading.pixels(view, series, number, row, col, rows, cols)


def _number(request: Request, name: str, default: int | None) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RefusedError(400, f"{name} is a whole number, not {text[:40]!r}")
    return int(text)


def _told(answer: Answer, status: int = 200) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        code = status
        try:
            said: Said = await answer(request)
        except RefusedError as error:
            said, code = Problem(error=str(error)), error.status
        body = msgspec.json.encode(said)
        return Response(body, code, {"cache-control": "no-store"}, "application/json")

    return respond
