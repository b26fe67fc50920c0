"""Valid examples of what each parser reads."""

from __future__ import annotations

import io
import json
import tempfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import cache
from pathlib import Path

import h5py
import msgpack
import msgspec
import numpy as np
import tifffile
import torch
from fabio import fabioformats
from msgspec.structs import replace

from streamer.config import Config
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.frames.peaks import PEAK, POSITION
from streamer.ingest.accounts import SeriesAccount
from streamer.ingest.spool import Spool
from streamer.ingest.state import IngestState
from streamer.run.launcher import this_process
from streamer.run.snapshot import take_snapshot
from streamer.sources.base import Opening
from streamer.transport.messages import (
    Acks,
    FramePeaks,
    Frames,
    Header,
    Patches,
    Positions,
    Status,
    pack,
)
from tests.fuzz.mutate import Messages
from tests.unit.runs import make_run
from tests.unit.streamer.cell.forms import FORMS as CELL_FORMS
from tests.unit.streamer.cell.forms import measurement
from tests.unit.streamer.run import test_snapshot
from tests.unit.streamer.sources.files.forms import FORMS
from tests.unit.streamer.sources.files.test_formats import write_cbf, write_edf, write_ge
from tests.unit.streamer.sources.live import test_array10, test_sls, test_stins
from tests.unit.streamer.sources.live.dectris import test_v1, test_v2
from tests.unit.streamer.sources.live.karabo import test_source as test_karabo
from tests.unit.streamer.sources.live.senders import compress

__all__ = [
    "FILES", "RUN_FILES", "STREAMS", "TEXTS", "checkpoints", "coded", "feed", "headers", "live",
    "spools", "states", "statuses",
]  # fmt: skip

SHAPE = (24, 40)
STACK = np.random.default_rng(1).poisson(3, (3, *SHAPE)).astype("<u2")


def _dectris1() -> list[Messages]:
    images = [test_v1.image(n, start=1000 * n) for n in range(4)]
    end = [test_v1.js(htype="dseries_end-1.0", series=1)]
    return [[begin, *images, end] for begin in (test_v1.full_header(), test_v1.header())]


def _dectris2() -> list[Messages]:
    mask = {"threshold_1": test_v2.array(np.zeros(test_v2.SHAPE, "<u4"))}
    flat = {"threshold_1": test_v2.array(np.ones(test_v2.SHAPE, "<f4"), "raw")}
    begin = test_v2.start(pixel_mask=mask, flatfield=flat, beam_center_x=3.5)
    raw = {"threshold_1": test_v2.array(test_v2.picture(4), "raw")}
    images = [*(test_v2.image(n) for n in range(4)), test_v2.image(4, data=raw)]
    return [[[part] for part in (begin, *images, test_v2.end())]]


def _sls() -> list[Messages]:
    one = [test_sls.message(n) for n in range(3)]
    two = [test_sls.message(n, port=k, grid=(2, 1)) for n in range(3) for k in range(2)]
    return [[*one, test_sls.DUMMY], [*two, test_sls.DUMMY, test_sls.DUMMY]]


def _stins() -> list[Messages]:
    more = json.dumps({"wavelength": 1.0}).encode()
    coded = test_stins.image(1, blob=compress(test_stins.picture(1)), compression="bslz4")
    return [
        [
            test_stins.header("/data/scan_7.h5", 0, more),
            test_stins.image(0),
            coded,
            test_stins.image(2),
            test_stins.end(4),
        ]
    ]


def _array10() -> list[Messages]:
    return [[test_array10.message(n, pulse_id=100 + n) for n in range(4)]]


def _karabo() -> list[Messages]:
    trains = range(test_karabo.FIRST, test_karabo.FIRST + 3)
    return [
        [test_karabo.message(train, version=version) for train in trains]
        for version in ("1.0", "2.0", "2.1", "2.2")
    ]


def _relay() -> list[Messages]:
    series = Series(
        name="s",
        n_frames=5,
        frame_time_s=0.1,
        pixel_mask=np.zeros(SHAPE, bool),
        flatfield=np.ones(SHAPE, np.float32),
        metadata={"a": [1, 2.5, {"b": "c"}]},
    )
    frames = [_frame(n) for n in range(3)]
    gap = Gap(series="s", first=3, count=2, reason="not received")
    records = [series, *frames, gap, SeriesEnd(series="s")]
    topics = [b"series", *[b"frame"] * 3, b"gap", b"end"]
    parts = [pack(record) for record in records]
    return [[[topic, *map(bytes, one)] for topic, one in zip(topics, parts, strict=True)]]


def _frame(number: int, encoding: str = "raw") -> Frame:
    pixels = STACK[number]
    data = pixels.tobytes() if encoding == "raw" else compress(pixels, encoding)
    return Frame(
        series="s",
        frame=number,
        time_ns=1_700_000_000_000_000_000 + number,
        shape=SHAPE,
        dtype="<u2",
        encoding=encoding,
        data=memoryview(data),
        seq=number,
        received_ns=1,
    )


STREAMS: dict[str, Callable[[], list[Messages]]] = {
    "dectris1": _dectris1,
    "dectris2": _dectris2,
    "sls": _sls,
    "stins": _stins,
    "array10": _array10,
    "karabo": _karabo,
    "relay": _relay,
}


def headers() -> Messages:
    """Return a message of each kind that travels between nodes."""
    told = [FramePeaks(0, "s", 0, 1, 2, 1), FramePeaks(1, "s", 1, 1, 2, 0, "damaged")]
    peaks = np.zeros(1, PEAK).tobytes()
    messages: list[tuple[Header, list[bytes]]] = [
        (Frames([_frame(0), _frame(1, "bslz4")]), []),
        (Patches(told, 11), [peaks, bytes(4 * 121), bytes(121)]),
        (Positions(told), [peaks, np.zeros(1, POSITION).tobytes()]),
        (Acks(upto=5, received=[6, 7], failed=[(7, "damaged")]), []),
        (
            Status(
                node="sink",
                pid=5,
                state="running",
                doing="taking",
                metrics_port=0,
                stats={"received": 1.0},
                info={"series": "{}"},
            ),
            [],
        ),
    ]
    own = [[bytes(part) for part in pack(header, *buffers)] for header, buffers in messages]
    return own + [parts[1:] for parts in _relay()[0]]


def coded() -> list[bytes]:
    """Return coded pixels of `SHAPE`, each behind a byte that tells the coding."""
    codings = {1: compress(STACK[0]), 3: compress(STACK[0], "lz4"), 4: zlib.compress(STACK[0])}
    return [STACK[0].tobytes().join((b"\0", b""))] + [
        bytes([place]) + data for place, data in codings.items()
    ]


@cache
def _written(suffix: str, write: Callable[[Path], object]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        write(path)
        return [path.read_bytes()]


def _npy() -> list[bytes]:
    made = []
    for array in (STACK, np.asfortranarray(STACK), STACK[0].astype(">f4")):
        np.save(file := io.BytesIO(), array)
        made.append(file.getvalue())
    return made


def _npz() -> list[bytes]:
    made = []
    for save in (np.savez, np.savez_compressed):
        save(file := io.BytesIO(), frames=STACK[:, :8, :8], dark=STACK[0])
        made.append(file.getvalue())
    return made


def _tiff() -> list[bytes]:
    made = []
    for options in ({}, {"compression": "zlib"}, {"imagej": True}, {"bigtiff": True}):
        tifffile.imwrite(file := io.BytesIO(), STACK, photometric="minisblack", **options)
        made.append(file.getvalue())
    return made


def _hdf5() -> list[bytes]:
    def plain(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["/entry/data/data"] = STACK
            file["/entry/start_time"] = "2026-01-01T00:00:00"
            file["/entry/instrument/detector/frame_time"] = 0.1
            file["/entry/instrument/detector/beam_center_x"] = 20.5

    def chunked(path: Path) -> None:
        with h5py.File(path, "w", libver="latest") as file:
            file.create_dataset("/entry/data/data", data=STACK, chunks=(1, *SHAPE))
            file.create_dataset("/x", data=STACK, chunks=(2, 8, 8), compression="gzip")

    return _written(".h5", plain) + _written(".h5", chunked)


def _of_forms(*names: str) -> Callable[[], list[bytes]]:
    """Return what makes the first file of forms of recordings."""

    def make() -> list[bytes]:
        found = []
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                FORMS[name].write(Path(folder))
                found.append(min(Path(folder).iterdir()).read_bytes())
        return found

    return make


def _edf() -> list[bytes]:
    say = {"time_of_day": "1.7e9", "acq_expo_time": "0.1", "psize_1": "1e-4"}
    return _written(".edf", lambda path: write_edf(path, STACK[:2], [say, say]))


def _fabio() -> list[bytes]:
    """Return a file of each format that fabio writes and that is read by nothing else here."""
    made = []
    for name in ("dtrek", "oxd", "bruker100", "esperanto"):
        kind = fabioformats.get_class_by_name(f"{name}image")
        image = kind(data=STACK[0].astype("<i4"))
        made += _written(".img", image.write)
    return made


FILES: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "npy": (".npy", _npy),
    "npz": (".npz", _npz),
    "tiff": (".tif", _tiff),
    "ge": (".ge3", lambda: _written(".ge3", lambda path: write_ge(path, STACK))),
    "edf": (".edf", _edf),
    "cbf": (".cbf", lambda: _written(".cbf", lambda path: write_cbf(path, STACK[0].astype("i4")))),
    "fabio": (".img", _fabio),
    "hdf5": (".h5", _hdf5),
    "hexrd": (".h5", _of_forms("cache_h5", "stream_v1", "stream_v2", "imaged11")),
    "cache": (".npz", _of_forms("cache_npz")),
    "zarr": (".zip", _of_forms("zarr_zip")),
    "packed": (".tif.gz", _of_forms("tiff_gz")),
    "ge-edf": (".ge5", _of_forms("ge_edf")),
}
"""Suffix and examples of each format."""

_PONI = """# a comment
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [24, 40], "orientation": 1}
Distance: 0.1
Poni1: 0.03
Poni2: 0.04
Rot1: 0.0
Rot2: 0.1
Rot3: 0.0
Wavelength: 1e-10
"""
_CSV = """Time;Ecell/V;I/mA
2026-01-01 10:00:00;3,9;1
1767261602;3,8;-1
1767261603,5;3,7;0
"""
_MPT = """EC-Lab ASCII FILE
Nb header lines : 4
Acquisition started on : 01/01/2026 10:00:00.000
time/s\tEwe/V\tI/mA
0.0\t3.9\t1
1.0\t3.8\t-1
"""

TEXTS: dict[str, Callable[[], list[bytes]]] = {
    "config": lambda: [
        Config().to_yaml().encode(),
        b"cell: {start: 2026-01-01T00:00:00, columns: {time: t}}\nsource: {frames: '1:5:2'}\n",
        b"positions: {methods: {mine: {a: [1, &b {c: d}, *b]}}}\n",
    ],
    "poni": lambda: [_PONI.encode()],
    "cell": lambda: [
        *(_CSV.encode(), _MPT.encode(), _CSV.replace(";", "\t").encode("utf-16")),
        *(form.write(measurement()[::9]) for form in CELL_FORMS),
    ],
    "page": lambda: [
        b'{"type": "watch", "tracks": [1, 2], "quantity": "d", "x": "frame", "from": 1.5,'
        b' "to": null, "points": 200, "request": 7}',
        b'{"type": "show", "frame": 3, "series": "s"}',
        b'{"type": "patch", "frame": 12, "series": "s", "row": 100.5, "col": 20.25}',
        b'{"type": "hold", "hold": true}',
    ],
}


def live() -> list[bytes]:
    """Return what a launcher writes every second."""
    now = take_snapshot(test_snapshot.Supervisor(), "a.h5", 0.0, 480, {"no room": 2})
    return [json.dumps(asdict(now)).encode()]


@cache
def _of_run(name: str) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [(make_run(Path(folder) / "run").path / name).read_bytes()]


def _running() -> list[bytes]:
    """Return what ``run.json`` says while a run goes on, and at its end."""
    [done] = _of_run("run.json")
    going = json.loads(done) | {"state": "running", "launcher": this_process()}
    return [done, json.dumps(going).encode()]


RUN_FILES: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "summary": ("run.json", _running),
    "live": ("live.json", live),
    "geometry": ("geometry.json", lambda: _of_run("geometry.json")),
    "tracks": ("tracks.parquet", lambda: _of_run("tracks.parquet")),
    "frames": ("frames/part-00000003.parquet", lambda: _of_run("frames/part-00000003.parquet")),
    "peaks": ("peaks/part-00000003.parquet", lambda: _of_run("peaks/part-00000003.parquet")),
}
"""Place in a run folder and examples of each file."""


def checkpoints() -> list[bytes]:
    """Return a file of weights."""
    torch.save({"weight": torch.zeros(2, 3), "psz": 11}, file := io.BytesIO())
    return [file.getvalue()]


def states() -> list[bytes]:
    """Return what an ingest node leaves to its successor."""
    opening = Opening(series="a", messages=[[b"start", b"more"]])
    account = SeriesAccount(announced=9, received=4, end="end", counters={"late": 1})
    return [msgspec.msgpack.encode(IngestState({"a": account}, opening))]


def spools() -> list[bytes]:
    """Return a file in which frames of two series wait."""

    def write(path: Path) -> None:
        with closing(Spool(path)) as spool:
            for name in ("s", "t"):
                spool.begin(Series(name=name, pixel_mask=np.zeros(SHAPE, bool)))
                for number in range(2):
                    spool.push(replace(_frame(number), series=name))

    return _written(".spool", write)


def feed() -> Messages:
    """Return messages of the feed."""
    columns = [["series", "<i8"], ["frame", "<i8"], ["row", "<f8"]]
    says = {"version": 1, "n": 2, "series": ["s"], "columns": columns}
    return [[b"peaks", msgpack.packb(says), *[bytes(16)] * 3]]


def statuses() -> Messages:
    """Return what nodes tell the launcher."""
    nodes = test_snapshot.Supervisor().nodes.values()
    return [[bytes(part) for part in pack(node.status)] for node in nodes]
