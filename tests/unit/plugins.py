"""Packages of others: installed into a folder that only needs to be on the search path."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, package: str, code: str, **entries: str) -> Path:
    """Write a package of one module, as an installer would.

    Parameters
    ----------
    entries
        For each kind of plugin, ``name = Class`` lines.
    """
    folder.mkdir(exist_ok=True)
    (folder / f"{package}.py").write_text(code, encoding="utf-8")
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = []
    for kind, named in entries.items():
        lines.append(f"[braggstream.{kind}]")
        for entry in named.splitlines():
            name, _, what = entry.partition("=")
            lines.append(f"{name.strip()} = {package}:{what.strip()}")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


LAB = '''
"""What another laboratory adds: one plugin of each kind, each with a parameter."""

from functools import partial

import numpy as np

from streamer.errors import UserError
from streamer.frames.events import Frame, Pixels, Series, SeriesEnd
from streamer.sources.base import ProtocolPlugin
from streamer.sources.files.recording import PlainReader, ReaderPlugin
from workers.detect.base import FinderPlugin, Peaks
from workers.place.base import MethodPlugin, Positions


ROWS, COLS = 48, 64
SPOTS = ((20, 30), (33, 41))


def pixels(number):
    """Return the coded pixels of a frame: two spots, the second one dimmer."""
    frame = np.full((ROWS, COLS), number % 3, "<u2")
    for strength, (row, col) in zip((900, 700), SPOTS):
        frame[row, col] = strength
        frame[row, col + 1] = strength // 2
    return frame.tobytes()


class Drum:
    """A detector that sends what it is asked for at once."""

    live = True
    socket = None

    def __init__(self, uri, frames):
        self.uri = uri
        self.counters = {}
        self.n_frames = frames
        self.events = [
            Series(name="roll", n_frames=frames),
            *(Frame(series="roll", frame=n, time_ns=1_000 + n, shape=(ROWS, COLS), dtype="<u2",
                    encoding="raw", data=pixels(n)) for n in range(frames)),
            SeriesEnd(series="roll"),
        ]

    @property
    def exhausted(self):
        return not self.events

    def read(self, limit):
        taken, self.events = self.events[:limit], self.events[limit:]
        return taken

    def close(self):
        pass


class DrumProtocol(ProtocolPlugin):
    frames: int = 6

    def open(self, uri, config):
        return Drum(uri, self.frames)

    def reach(self, uri, config):
        if uri.endswith("nobody"):
            raise UserError(f"{uri}: nobody drums there")


class Sheet(ReaderPlugin):
    """Raw frames one after the other, behind as many bytes as it is told."""

    skip: int = 0

    def open(self, path, config):
        data = path.read_bytes()[self.skip :]
        size = 2 * ROWS * COLS
        return PlainReader(
            Series(name=path.stem, n_frames=len(data) // size),
            len(data) // size,
            lambda n: Pixels(data[n * size : (n + 1) * size], "raw", "<u2", (ROWS, COLS)),
        )


def brightest(frame, masked=None, *, most):
    """Find the brightest pixels."""
    order = np.argsort(frame, axis=None, kind="stable")[::-1][:most]
    row, col = (index.astype(np.int32) for index in np.unravel_index(order, frame.shape))
    return Peaks(row, col, frame[row, col].astype(float))


class Brightest(FinderPlugin):
    slow = True
    most: int

    def make(self, minval, minscore):
        return partial(brightest, most=self.most)


class Shifted:
    """Places each peak beside the middle of its patch, by as much as it is told."""

    name = "shifted"
    patch_size = 9

    def __init__(self, rows):
        self.rows = rows

    def place(self, patches, valid):
        assert patches.shape == valid.shape == (len(patches), 9, 9)
        middle, flags = np.zeros(len(patches)), np.zeros(len(patches), np.int32)
        return Positions(middle + self.rows, middle, middle + 0.1, middle + 0.1, flags, flags > 0)


class ShiftedMethod(MethodPlugin):
    rows: float = 0.0

    def make(self, config, n_threads):
        return Shifted(self.rows)
'''
LAB_ENTRIES = {
    "protocols": "drum = DrumProtocol",
    "readers": "sheet = Sheet",
    "finders": "brightest = Brightest",
    "methods": "shifted = ShiftedMethod",
}


def install_lab(folder: Path) -> Path:
    """Install that package."""
    return install(folder, "lab", LAB, **LAB_ENTRIES)
