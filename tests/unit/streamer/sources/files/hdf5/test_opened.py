"""Recordings of many data files: how many of them are open at a time."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from streamer.config import SourceConfig
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap
from streamer.sources import open_source

SHAPE = (6, 8)
N_FILES, PER_FILE = 120, 2
STORED = {
    "coded": {"chunks": (1, *SHAPE), **hdf5plugin.Bitshuffle(cname="lz4")},
    "contiguous": {},
    "decoded": {"chunks": (2, 3, 4), "compression": "gzip"},
}


def write_files(folder: Path, options) -> np.ndarray:
    counts = np.random.default_rng(1).poisson(4, (N_FILES * PER_FILE, *SHAPE)).astype("<u2")
    for n in range(N_FILES):
        with h5py.File(folder / f"run_data_{n + 1:06d}.h5", "w") as file:
            part = counts[n * PER_FILE : (n + 1) * PER_FILE]
            file.create_dataset("entry/data/data", data=part, **options)
    return counts


def link(folder: Path) -> Path:
    master = folder / "run_master.h5"
    with h5py.File(master, "w") as file:
        group = file.create_group("entry/data")
        for n in range(1, N_FILES + 1):
            group[f"data_{n:06d}"] = h5py.ExternalLink(f"run_data_{n:06d}.h5", "/entry/data/data")
    return master


def map_virtually(folder: Path) -> Path:
    master = folder / "run.h5"
    layout = h5py.VirtualLayout((N_FILES * PER_FILE, *SHAPE), "<u2")
    for n in range(N_FILES):
        name = f"run_data_{n + 1:06d}.h5"
        source = h5py.VirtualSource(name, "entry/data/data", (PER_FILE, *SHAPE))
        layout[n * PER_FILE : (n + 1) * PER_FILE] = source
    with h5py.File(master, "w") as file:
        file.create_group("entry/data").create_virtual_dataset("data", layout)
    return master


def n_open(folder: Path) -> int:
    """Count the files in a folder that this process has open."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{entry}"))
        except OSError:  # that of the listing itself
            continue
    return sum(path.startswith(f"{folder}{os.sep}") for path in found)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="tells open files on Linux alone")
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("master_of", [link, map_virtually])
def test_few_of_many_data_files_are_open_at_a_time(tmp_path, master_of, stored):
    counts = write_files(tmp_path, STORED[stored])
    source = open_source(str(master_of(tmp_path)), SourceConfig())
    most, frames = n_open(tmp_path), []
    assert most <= 1 + 32
    while not source.exhausted:
        frames += [event for event in source.read(1) if isinstance(event, Frame)]
        most = max(most, n_open(tmp_path))
    # The master, those that are kept open, and those that frames are mapped from.
    assert most <= 1 + 32 + 64 + 1
    got = [decode(e.data, e.encoding, e.dtype, e.shape) for e in frames]
    np.testing.assert_array_equal(got, counts)
    del frames, got
    source.close()
    assert n_open(tmp_path) <= 4


def test_a_data_file_that_goes_away_while_it_is_read_is_missing(tmp_path):
    write_files(tmp_path, STORED["coded"])
    source = open_source(str(link(tmp_path)), SourceConfig())
    events = source.read(2)
    for n, change in ((40, "gone"), (41, "another"), (42, "broken")):
        path = tmp_path / f"run_data_{n:06d}.h5"
        path.unlink()
        if change == "another":
            with h5py.File(path, "w") as file:
                file["entry/data/data"] = np.zeros((1, *SHAPE), "<u2")
        elif change == "broken":
            path.write_bytes(b"nothing")
    while not source.exhausted:
        events += source.read(100)
    lost = {event.first: (event.count, event.reason) for event in events if isinstance(event, Gap)}
    assert lost[78] == (2, "file run_data_000040.h5 is missing")
    assert lost[80] == (2, "file run_data_000041.h5 was changed while it was read")
    assert lost[82][1].startswith("file run_data_000042.h5 cannot be read (")
    assert sum(isinstance(event, Frame) for event in events) == N_FILES * PER_FILE - 6
    source.close()
