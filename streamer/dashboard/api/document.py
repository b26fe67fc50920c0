"""The OpenAPI document of the HTTP API, made from what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from streamer.dashboard.api import answers
from streamer.dashboard.api.answers import Problem

__all__ = ["CONTROL_HEADER", "document"]

CONTROL_HEADER = "X-Braggstream-Control"
_REF = "#/components/schemas/{name}"
_INTEGER: dict[str, Any] = {"type": "integer", "minimum": 0}
_TEXT: dict[str, Any] = {"type": "string"}
_NAME: dict[str, Any] = {
    "name": "run", "in": "path", "required": True, "schema": _TEXT,
    "description": "name of the run, as in the list of runs",
}  # fmt: skip
_FRAME: list[dict[str, Any]] = [
    {"name": "frame", "in": "path", "required": True, "schema": _INTEGER,
     "description": "number of the frame in its series"},
    {"name": "series", "in": "query", "schema": _TEXT,
     "description": "name of the series; default: the newest"},
]  # fmt: skip


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _region() -> list[dict[str, Any]]:
    words = {
        "row": "first row", "col": "first column", "rows": "number of rows; default: all",
        "cols": "number of columns; default: all",
    }  # fmt: skip
    return [_query(name, _INTEGER, text) for name, text in words.items()]


def _answers(kind: type, *problems: int, status: int = 200) -> dict[str, Any]:
    def said(one: type) -> dict[str, Any]:
        schema = {"$ref": _REF.format(name=one.__name__)}
        return {
            "description": (one.__doc__ or "").splitlines()[0],
            "content": {"application/json": {"schema": schema}},
        }

    return {str(status): said(kind), **{str(code): said(Problem) for code in problems}}


def _get(
    name: str, summary: str, kind: type, *problems: int, parameters: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "parameters": list(parameters),
            "responses": _answers(kind, *problems),
        }
    }


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    kinds = [getattr(answers, name) for name in answers.__all__]
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    begin = "/api/runs/{run}"
    curve: list[dict[str, Any]] = [
        {"name": "track", "in": "path", "required": True, "schema": _INTEGER,
         "description": "number of the track"},
        _query("quantity", _TEXT, "one of the quantities of the status; default: the first"),
        _query("x", {"enum": ["time", "frame"]}, "default: time where frames have times"),
        _query("points", {"type": "integer", "minimum": 2, "maximum": 20000},
               "most points; what is more is averaged (2000)"),
    ]  # fmt: skip
    thresholds = _get("thresholds", "Thresholds, and how they were changed", answers.Thresholds,
                      404, parameters=[_NAME])  # fmt: skip
    thresholds["post"] = {
        "operationId": "changeThresholds",
        "summary": "Change the thresholds of a run that goes on, from its next frame on",
        "parameters": [_NAME],
        "security": [{"control": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(name="Wanted")}}},
        },
        "responses": _answers(answers.Change, 400, 403, 404, 409, 415, 422, 503, status=202),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "braggstream",
            "version": version("braggstream"),
            "description": "Runs, as their page shows them. All is read only but the thresholds of "
            "a run that goes on, which take its control token.",
        },
        "paths": {
            "/api/runs": _get("runs", "The runs that there are", answers.Runs),
            f"{begin}/status": _get(
                "status", "How a run stands", answers.Status, 404, parameters=[_NAME]
            ),
            f"{begin}/tracks": _get(
                "tracks", "All tracks of a run", answers.Tracks, 404, parameters=[_NAME]
            ),
            f"{begin}/tracks/{{track}}": _get(
                "track", "A quantity of a track over the run", answers.Curve, 400, 404, 503,
                parameters=[_NAME, *curve],
            ),
            f"{begin}/frames/{{frame}}/peaks": _get(
                "peaks", "The peaks of a frame", answers.Frame, 404, parameters=[_NAME, *_FRAME]
            ),
            f"{begin}/frames/{{frame}}/pixels": _get(
                "pixels", "Counts of a frame, at most 262,144 pixels at once", answers.Pixels,
                400, 404, parameters=[_NAME, *_FRAME, *_region()],
            ),
            f"{begin}/thresholds": thresholds,
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "control": {
                    "type": "apiKey", "in": "header", "name": CONTROL_HEADER,
                    "description": "printed when the run begins; `control.token` of its folder",
                }
            },
        },
    }  # fmt: skip
