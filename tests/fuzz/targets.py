"""The parsers, each as a function of bytes or messages that may raise only what is documented."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import zmq
from rich.console import Console

from streamer.cell.log import open_cell
from streamer.config import CellConfig, SourceConfig, load_config
from streamer.dashboard.requests import read_request
from streamer.errors import RunError, UserError
from streamer.frames.codecs import ENCODINGS, DecodeError, decode
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.frames.geometry import Geometry
from streamer.frames.header_geometry import geometry_of
from streamer.frames.poni import read_poni
from streamer.ingest.open_series import Numbers
from streamer.ingest.spool import Spool
from streamer.ingest.state import StateFile
from streamer.results.folder import RunFolder
from streamer.results.run import open_run
from streamer.run.console import LiveView, PlainView
from streamer.run.snapshot import take_snapshot
from streamer.run.status import print_status
from streamer.run.supervisor import NodeProcess, Phase, countable
from streamer.run.topology import NodeSpec
from streamer.sink.feed import read_message
from streamer.sources.files.open import open_recording
from streamer.sources.images import load_mask
from streamer.sources.live.address import Address
from streamer.sources.live.array10 import _Array10
from streamer.sources.live.braggstream import _RelayDialect
from streamer.sources.live.dectris.source import _EitherVersion
from streamer.sources.live.karabo.source import KaraboBridge
from streamer.sources.live.pva import ntndarray
from streamer.sources.live.series import SeriesAssembler
from streamer.sources.live.sls import _Sls
from streamer.sources.live.source import Dialect
from streamer.sources.live.stins import _Stins
from streamer.transport.messages import Frames, MessageError, Status, pack, unpack
from tests.fuzz import seeds
from tests.fuzz.mutate import Messages
from tests.unit.runs import make_run
from workers.place.network.checkpoints import read_file

__all__ = ["TARGETS", "Target"]

_EVENTS = 20
_LIVE = SourceConfig(series=0)


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, with valid examples of what it reads."""

    run: Callable[[Any], None]
    """Raises what is wrong with the parser, nothing where it read or refused what it was given."""
    seeds: Callable[[], list[Any]]
    is_stream: bool = False
    """What is read are `Messages`, not bytes."""


class WrongError(AssertionError):
    """A parser did what it must not."""


def _one_line(error: Exception) -> None:
    text = str(error)
    text.encode()
    if len(text.splitlines()) > 1 or len(text) > 4000:
        raise WrongError(f"not one line of a message to a user: {text[:200]!r}")


def _check_event(event: Series | Frame | Gap | SeriesEnd) -> None:
    """Check that an event can go all the way to the tables and files of a run."""
    name = event.name if isinstance(event, Series) else event.series
    if not (name.isprintable() and 0 < len(name) <= 140 and len(name.encode()) < 600):
        raise WrongError(f"a series called {name[:200]!r}")
    again, _ = unpack(pack(event))
    if isinstance(event, Series):
        geometry_of(event.metadata)
        if event.frame_time_s is not None and not 0 < event.frame_time_s <= 1e9:
            raise WrongError(f"a frame time of {event.frame_time_s}")
    if isinstance(event, Gap) and not (event.reason.isprintable() and len(event.reason) < 500):
        raise WrongError(f"not one line: {event.reason[:200]!r}")
    if isinstance(again, Frame):
        unpack(pack(Frames([again])))
        _decode(again.data, again.encoding, again.dtype, again.shape)


def _decode(data: Any, encoding: str, dtype: str, shape: tuple[int, int]) -> None:
    if math.prod(shape) > 1 << 24:
        return  # which needs the memory of a large frame, and no more
    try:
        decode(data, encoding, dtype, shape)
    except DecodeError as error:
        _one_line(error)


def _stream(make: Callable[[], Dialect]) -> Callable[[Messages], None]:
    def run(messages: Messages) -> None:
        dialect, assembler = make(), SeriesAssembler(_LIVE)
        for parts in messages:
            try:
                dialect.take([zmq.Frame(part) for part in parts], assembler)
            except UserError:
                return
            except ValueError:
                continue
            if len(assembler.pending) > 10_000:
                raise WrongError("more events than can come of these messages")
            while assembler.pending:
                _check_event(assembler.pending.popleft())
        assembler._close("new series")
        while assembler.pending:
            _check_event(assembler.pending.popleft())

    return run


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Return where the files lie, in memory where that is possible."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(
        prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None
    )


def _file(suffix: str, read: Callable[[Path], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        path = Path(_folder().name, f"a{suffix}")
        path.unlink(missing_ok=True)  # not written over: somebody may have it mapped
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(path)
            except UserError as error:
                _one_line(error)

    return run


def _recording(path: Path) -> None:
    with closing(open_recording(str(path), SourceConfig())) as recording:
        events = recording.read(_EVENTS)
    for event in events:
        _check_event(event)


def _mask(path: Path) -> None:
    load_mask(path)


def _config(path: Path) -> None:
    load_config(path).to_yaml()


def _poni(path: Path) -> None:
    Geometry(**read_poni(path))


def _cell(path: Path) -> None:
    with closing(open_cell(CellConfig(file=str(path)))) as source:
        for _ in range(2):
            try:
                readings = source.poll()
            except (OSError, ValueError) as error:
                str(error).encode()
                return
            if len(readings) and abs(int(readings.time_ns.max())) >= 1 << 63:
                raise WrongError("a time that no table holds")


def _run(name: str) -> Callable[[bytes], None]:
    """Return what reads a run folder of which one file is as the bytes say."""

    def run(data: bytes) -> None:
        folder = Path(_folder().name)
        original = folder / "original"
        if not original.exists():
            make_run(original)
            (original / "live.json").write_bytes(seeds.live()[0])
        path = folder / name.replace("/", "-")
        if not path.exists():
            shutil.copytree(original, path)
        (path / name).unlink()
        (path / name).write_bytes(data)
        try:
            with suppress(RunError):
                print_status(path, Console(file=io.StringIO()))
            opened = open_run(path)
            _ = opened.frames, opened.geometry, opened.tracks, opened.cell, opened.summary
            RunFolder(path).last_part()
            with suppress(RunError):
                _ = opened.peaks
        except UserError as error:
            _one_line(error)

    return run


def _checkpoint(path: Path) -> None:
    read_file(path)


def _state(path: Path) -> None:
    path.rename(path.with_name("ingest_state.msgpack"))
    StateFile(path.parent).take()


def _spool(path: Path) -> None:
    with closing(Spool(path)) as spool, suppress(OSError):
        for series in spool.take_over(Numbers(0).take):
            _check_event(series)
        while len(spool):
            _check_event(spool.pop())


def _feed(messages: Messages) -> None:
    for parts in messages:
        with suppress(MessageError):
            read_message(parts)


def _launcher(messages: Messages) -> None:
    """Show what nodes told of themselves."""
    nodes = {name: NodeProcess(_SPEC, Path("log")) for name in ("sink", "ingest", "gpu-0")}
    for parts in messages:
        try:
            header, _ = unpack(parts)
        except MessageError:
            continue
        if isinstance(header, Status) and header.node in nodes:
            node = nodes[header.node]
            node.status = countable(header)
            node.info |= header.info
    view = SimpleNamespace(nodes=nodes, phase=Phase.RUNNING, restarted=0)
    now = take_snapshot(view, "a", 0.0, None)  # type: ignore[arg-type]
    json.dumps(asdict(now))
    with LiveView(Console(file=io.StringIO(), force_terminal=True)) as live:
        live.update(now)
    PlainView(Console(file=io.StringIO())).update(now)


def _page(data: bytes) -> None:
    try:
        read_request(data.decode("utf-8", "surrogatepass"))
    except ValueError:
        return


def _wire(messages: Messages) -> None:
    for parts in messages:
        try:
            header, buffers = unpack(parts)
        except MessageError:
            continue
        pack(header, *buffers)


def _pixels(data: bytes) -> None:
    encoding = ENCODINGS[data[0] % len(ENCODINGS)] if data else "raw"
    _decode(data[1:], encoding, "<u2", seeds.SHAPE)


class _Update(SimpleNamespace):
    """What the PVAccess library gives, as far as it is read."""

    def get(self, name: str) -> Any:
        return getattr(self, name, None)


def _ntndarray(data: bytes) -> None:
    """Read an update whose fields are as the bytes say, each of the type that the library has."""
    at = iter(data + bytes(64))
    number = [0, 1, 40, 24, 7, 1920, (1 << 31) - 1, (1 << 63) - 1]
    signed = [*number, -1, -(1 << 63)]

    def one_of(values: list[Any]) -> Any:
        return values[next(at) % len(values)]

    stamp = _Update(secondsPastEpoch=one_of(signed), nanoseconds=one_of(number[:7]))
    axes = [
        _Update(size=one_of(signed), offset=one_of(signed), binning=one_of(signed))
        for _ in range(one_of([2, 2, 2, 0, 1, 3]))
    ]
    kinds = [None, "x" * 5000, "\ud800", 10**18, 0.5, np.zeros(70), {"value": {"value": [1]}}]
    update = _Update(
        uniqueId=one_of(signed),
        dimension=axes,
        codec=_Update(name=one_of([*ntndarray._ENCODINGS, "odd"]), parameters=one_of([*signed])),
        compressedSize=one_of(signed),
        uncompressedSize=one_of(signed),
        dataTimeStamp=one_of([stamp, None]),
        timeStamp=one_of([stamp, None]),
        attribute=[_Update(name="a", value=one_of(kinds)) for _ in range(2)],
        value=np.frombuffer(data[: len(data) // 2 * 2], one_of(["u1", "<u2", "i1"])),
    )
    ntndarray.exposed_ns(update)
    ntndarray.size_bytes(update)
    try:
        if ntndarray.holds_image(update):
            ntndarray.metadata(update)
            pixels = ntndarray.coded_pixels(update)
            _decode(*pixels)
    except (ValueError, UserError):
        return


def _input(name: str, suffix: str = "") -> Callable[[], list[bytes]]:
    folder = Path(__file__).parent / "inputs"
    return lambda: [path.read_bytes() for path in sorted(folder.glob(f"{name}-*{suffix}"))]


_URI = "fuzz://127.0.0.1:1"
_DIALECTS: dict[str, Callable[[], Dialect]] = {
    "dectris1": lambda: _EitherVersion(_URI, _LIVE),
    "dectris2": lambda: _EitherVersion(_URI, _LIVE),
    "sls": lambda: _Sls(Address(_URI, "127.0.0.1", 1), _LIVE, 1),
    "stins": lambda: _Stins(_URI, _LIVE),
    "array10": lambda: _Array10(_URI, _LIVE),
    "karabo": lambda: KaraboBridge(Address(_URI, "127.0.0.1", 1), _LIVE),
    "relay": lambda: _RelayDialect(_URI),
}
_SPEC = NodeSpec(name="a", source="", out="", endpoints={}, detectors=1, gpus=1, patch_size=11)
_TEXTS = {
    "config": _file(".yaml", _config),
    "poni": _file(".poni", _poni),
    "cell": _file(".csv", _cell),
    "page": _page,
}

TARGETS: dict[str, Target] = {
    **{
        name: Target(_stream(make), seeds.STREAMS[name], is_stream=True)
        for name, make in _DIALECTS.items()
    },
    "wire": Target(_wire, lambda: [seeds.headers()], is_stream=True),
    **{
        name: Target(_file(suffix, _recording), examples)
        for name, (suffix, examples) in seeds.FILES.items()
    },
    "mask": Target(_file(".npy", _mask), seeds.FILES["npy"][1]),
    **{name: Target(run, seeds.TEXTS[name]) for name, run in _TEXTS.items()},
    **{name: Target(_run(file), examples) for name, (file, examples) in seeds.RUN_FILES.items()},
    "checkpoint": Target(_file(".pt", _checkpoint), seeds.checkpoints),
    "state": Target(_file(".state", _state), seeds.states),
    "spool": Target(_file(".spool", _spool), seeds.spools),
    "feed": Target(_feed, lambda: [seeds.feed()], is_stream=True),
    "launcher": Target(_launcher, lambda: [seeds.statuses()], is_stream=True),
    "mpr": Target(_file(".mpr", _cell), _input("mpr")),
    "pixels": Target(_pixels, seeds.coded),
    "ntndarray": Target(_ntndarray, lambda: [bytes(range(200)), seeds.STACK[0].tobytes()]),
}

logging.getLogger("fabio").setLevel(logging.CRITICAL)
