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

from workers.detect.base import FinderPlugin, Peaks
from workers.place.base import MethodPlugin, Positions


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
LAB_ENTRIES = {"finders": "brightest = Brightest", "methods": "shifted = ShiftedMethod"}


def install_lab(folder: Path) -> Path:
    """Install that package."""
    return install(folder, "lab", LAB, **LAB_ENTRIES)
