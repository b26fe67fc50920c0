"""Benchmarks do what they say; how long it takes is not tested."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path

import numpy as np
import pytest

from streamer.config import load_config
from streamer.results.folder import RunFolder
from tests import benchmarks
from tests.benchmarks.pipeline import plain_loop
from tests.pipeline.conftest import FRAMES, QUICK, assert_each_frame_once, run

MODULES = [path.stem for path in Path(benchmarks.__file__).parent.glob("[a-z]*.py")]


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_has_what_it_needs(name):
    assert callable(importlib.import_module(f"tests.benchmarks.{name}").main)


@pytest.mark.parametrize("method", ["centroid", "braggnn"])
def test_the_plain_loop_does_the_work_of_the_topology(recording, tmp_path, method):
    settings = (f"positions.method={method}", "positions.device=cpu")
    run(recording, tmp_path / "run", *settings)
    config = load_config(None, [*QUICK, *settings])
    seconds = [0.0]
    plain_loop(config, recording, tmp_path, 0, 1, threading.Barrier(1), seconds)
    assert seconds[0] > 0
    assert_each_frame_once(tmp_path / "loop-0", FRAMES)
    ours, theirs = (RunFolder(tmp_path / name).read("peaks") for name in ("loop-0", "run"))
    whole = ["frame", "peak_row", "peak_col", "flags", "track"]
    assert ours.select(whole).equals(theirs.select(whole))
    for name in ("row", "col"):
        # A network's answer depends on its batch in the last digits.
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-4)
