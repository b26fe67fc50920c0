"""The simulated detector as a command runs it."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext

import h5py
import numpy as np
from rich.console import Console

from streamer.config import SimulateConfig
from streamer.simulator.session import simulate
from streamer.simulator.truth import read_truth

CONFIG = SimulateConfig(frames=4, rows=64, cols=64, spots=2, rate_hz=0.0)


def run(*, stop=None, **more):
    said = io.StringIO()
    event = stop or threading.Event()
    simulate(CONFIG, Console(file=said, width=40), lambda: nullcontext(event), **more)
    return said.getvalue().splitlines()


def test_a_recording_has_its_truth_and_its_cell_beside_it_and_their_places_are_said(tmp_path):
    out = tmp_path / "x_master.h5"
    lines = run(out=out)
    truth, cell = tmp_path / "x_truth.parquet", tmp_path / "x_cell.csv"
    assert lines == [f"recording {out}", f"truth     {truth}", f"cell      {cell}"]
    with h5py.File(out) as file:
        assert sum(len(file[f"entry/data/{name}"]) for name in file["entry/data"]) == 4
    assert read_truth(truth)[0].num_rows
    times = np.loadtxt(cell, delimiter=",", skiprows=1)[:, 0]
    assert len(times) == 4
    assert np.all(np.diff(times) > 0)


def test_they_lie_where_they_are_wanted(tmp_path):
    truth, cell = tmp_path / "a" / "t.parquet", tmp_path / "b" / "c.csv"
    run(out=tmp_path / "x_master.h5", truth=truth, cell=cell)
    assert truth.exists()
    assert cell.exists()
    assert not list(tmp_path.glob("x_truth*"))


def test_a_detector_says_where_it_is_before_it_waits_and_what_became_of_its_frames(tmp_path):
    stop = threading.Event()
    stop.set()
    truth = tmp_path / "truth.parquet"
    first, last = run(stop=stop, truth=truth)
    assert first.startswith("detector at dectris://127.0.0.1:")
    assert last == "sent 0 frames in 0.0 s, dropped 0"
    assert truth.exists()
