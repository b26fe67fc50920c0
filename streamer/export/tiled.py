"""A run registered with a Tiled server."""

from __future__ import annotations

import base64
import json
import math
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow.parquet as pq

from streamer.errors import UserError
from streamer.export.formats import export_run
from streamer.results.folder import RunFolder
from streamer.results.schema import TABLES

__all__ = ["KEY", "register_run"]

KEY = "TILED_API_KEY"
"""Variable of the environment with the key that the server asks for."""

_API = "/api/v1"
_PATIENCE_S = 60.0


def register_run(path: Path, url: str, out: Path | None = None) -> str:
    """Export the tables of a run as Parquet, and register them with a Tiled server.

    The server reads the files where they are, by the same absolute path: nothing is sent but where
    they lie, what their columns are, and what the run is of. A registration that fails leaves
    nothing behind.

    Parameters
    ----------
    path
        Run folder.
    url
        Of the server, ``http://HOST:8000``, or of a container in it, as Tiled's clients show it:
        ``http://HOST:8000/api/v1/metadata/beamline/2026-1``.
    out
        Where the tables go; default: ``export/tiled`` of the run folder.

    Returns
    -------
    uri
        Of the container of the run.

    Raises
    ------
    UserError
        It is no run folder, something is at `out` already, or the server cannot be reached, has
        such a container, or does not take the tables.
    """
    folder = RunFolder.open(path)
    out = out or path / "export" / "tiled"
    name = path.resolve().name
    if set("?#") & set(str(out.resolve())):
        raise UserError(f"{out}: Tiled finds no files by a path with ? or #: choose another --out")
    place = _Place.of(url)
    place.require_room_for(name)
    export_run(path, "parquet", out)
    try:
        place.add([], name, "container", _metadata(folder, name))
    except BaseException:
        shutil.rmtree(out)
        raise
    try:
        for table in TABLES:
            place.add([name], table, "table", _columns(table), _source(out / f"{table}.parquet"))
        place.require_readable(name, out)
    except BaseException:
        place.remove(name)
        shutil.rmtree(out)
        raise
    return place.uri(name)


@dataclass(frozen=True, slots=True)
class _Place:
    """A container of a server."""

    server: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, url: str) -> _Place:
        said = urlsplit(url)
        if said.scheme not in ("http", "https") or not said.hostname:
            raise UserError(f"--tiled {url}: give the address of a server, http://HOST:8000")
        if said.query or said.password:
            raise UserError(f"--tiled: give the key as the environment's {KEY}, not in the address")
        server, _, rest = url.rstrip("/").partition(_API)
        if rest and not rest.startswith("/metadata"):
            raise UserError(f"--tiled {url}: a container ends in {_API}/metadata/NAME/NAME")
        return cls(server, tuple(part for part in rest.split("/")[2:] if part))

    def uri(self, *more: str, action: str = "metadata") -> str:
        """Return where something of the container is asked for."""
        names = [*self.parts, *(quote(one, safe="") for one in more)]
        return f"{self.server}{_API}/{action}/{'/'.join(names)}"

    def require_room_for(self, name: str) -> None:
        """Check that the container is there, and has nothing of that name."""
        if self._ask("GET", self.uri()) is None:
            raise UserError(f"{self.uri()}: there is no such container")
        if self._ask("GET", self.uri(name)) is not None:
            raise UserError(f"{self.uri(name)} is there already: remove it there first")

    def add(
        self,
        within: list[str],
        name: str,
        family: str,
        metadata: Mapping[str, Any],
        source: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a container or a table."""
        sources = [] if source is None else [source]
        body = {
            "id": name, "structure_family": family, "metadata": metadata, "data_sources": sources,
            "specs": [] if sources else [{"name": "braggstream", "version": "1"}],
        }  # fmt: skip
        action = "register" if sources else "metadata"
        if self._ask("POST", self.uri(*within, action=action), body) is None:
            raise UserError(f"{self.uri(*within)}: there is no such container")

    def require_readable(self, name: str, out: Path) -> None:
        """Check that the server reads what was registered: it takes what it does not find."""
        try:
            table = self.uri(name, "cell", action="table/partition")
            found = self._ask("GET", f"{table}?partition=0&column=time_ns")
        except UserError:
            found = None
        if found is None:
            raise UserError(
                f"the server cannot read {out.resolve()}: it must see the same path on its host, "
                "and be let read it, as by its --read; or choose another --out"
            )

    def remove(self, name: str) -> None:
        """Remove a container with what was registered in it, as far as that can be done."""
        try:
            self._ask("DELETE", f"{self.uri(name)}?recursive=true")
        except UserError:
            return  # why it was to be removed says more

    def _ask(self, method: str, uri: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the answer; None where what is asked for is not there."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Apikey {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(uri, data, headers, method=method)
        try:
            with _OPENER.open(request, timeout=_PATIENCE_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise UserError(f"{uri}: {_reason(error)}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(f"{uri}: no Tiled server answers there ({reason})") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key is for the server that was named, and for no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _reason(error: urllib.error.HTTPError) -> str:
    """Return why a request was refused."""
    try:
        said = json.loads(error.read(10_000))["detail"]
    except (OSError, ValueError, KeyError, TypeError):
        said = error.reason
    if error.code in (401, 403):
        return f"{said}; give a key that may register as the environment's {KEY}"
    return f"{said} (status {error.code})"


def _metadata(folder: RunFolder, name: str) -> dict[str, Any]:
    """Return what a run is of, as the user said under ``meta``, and how it went."""
    summary = folder.read_summary()
    told = ("source", "started", "ended", "state", "software", "frames", "peaks", "tracks")
    metadata = {"run": name, "meta": folder.read_config().meta.said}
    metadata |= {key: summary[key] for key in told}
    if (geometry := folder.read_geometry()) is not None:
        lengths = {
            "distance_m": geometry.distance_m,
            "wavelength_a": geometry.wavelength_a,
            "beam_row": geometry.beam[0],
            "beam_col": geometry.beam[1],
        }
        metadata["geometry"] = {key: one for key, one in lengths.items() if not math.isnan(one)}
    return metadata


def _columns(table: str) -> dict[str, Any]:
    said = {one.name: {"unit": one.unit, "meaning": one.meaning} for one in TABLES[table].columns}
    return {"columns": said}


def _source(file: Path) -> dict[str, Any]:
    """Return where a table lies and what it is like, as Tiled wants to be told."""
    schema = pq.read_schema(file).remove_metadata()
    packed = base64.b64encode(schema.serialize()).decode()
    asset = {
        "data_uri": f"file://localhost{file.resolve()}",  # which Tiled wants as it is
        "is_directory": False, "parameter": "data_uris", "num": 0,
    }  # fmt: skip
    return {
        "structure_family": "table",
        "structure": {
            "arrow_schema": f"data:application/vnd.apache.arrow.file;base64,{packed}",
            "npartitions": 1, "columns": schema.names, "resizable": False,
        },
        "mimetype": "application/x-parquet",
        "parameters": {},
        "management": "external",
        "assets": [asset],
    }  # fmt: skip
