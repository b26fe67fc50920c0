"""Benchmarks do what they say; how long it takes is not tested."""

from __future__ import annotations

import importlib
import json
import sys
import threading

import numpy as np
import pytest

from streamer.config import load_config
from streamer.results.folder import RunFolder
from tests.benchmarks import frames, positions
from tests.benchmarks.__main__ import TABLES, filled
from tests.benchmarks.long_folder import write_long_run
from tests.benchmarks.long_runs import restart
from tests.benchmarks.measure import Table, command, markdown, rounds, spread
from tests.benchmarks.plain import plain_loop
from tests.benchmarks.topology import SINGLE, agreement
from tests.pipeline.conftest import FRAMES, QUICK, assert_each_frame_once, run


@pytest.mark.parametrize("name", TABLES)
def test_every_benchmark_has_what_it_needs(name):
    module = importlib.import_module(f"tests.benchmarks.{name}")
    assert callable(getattr(module, "tables", None) or module.main)


def test_rounds_are_taken_in_turn_and_back():
    taken = []
    work = {name: lambda turn, name=name: taken.append((turn, name)) or turn for name in "ab"}
    assert rounds(3, work) == {"a": [0, 1, 2], "b": [0, 1, 2]}
    assert taken == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]


def test_a_page_gets_its_tables_anew_and_keeps_the_rest():
    page = "Above.\n<!-- one -->\nold\n<!-- end of one -->\nBelow."
    table = Table("Speed", ("what", "frames/s"), note="Of one core.")
    table.add("ours", spread([3.0, 1.0, 2.0]))
    text = filled(page, {"one": markdown(table)})
    assert text.startswith("Above.\n<!-- one -->\n**Speed**\n\n| what | frames/s |\n| --- | ---: |")
    assert text.endswith("| ours | 2 (1 to 3) |\n\nOf one core.\n<!-- end of one -->\nBelow.")
    with pytest.raises(SystemExit, match="no place for two"):
        filled(page, {"two": ""})


def test_a_row_has_a_cell_for_each_column():
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("Speed", ("what", "frames/s")).add("ours")


def test_memory_of_a_command_is_its_own():
    room = bytearray(400 << 20)
    room[:: 1 << 12] = bytes(len(room) >> 12).replace(b"\0", b"\1")
    found = command([sys.executable, "-c", "import time; time.sleep(0.5)"])
    assert 0 < found.peak_mib < 200


def test_a_folder_of_a_long_run_is_like_one_of_a_run(tmp_path):
    folder = write_long_run(tmp_path / "run", 13_000)
    restart(str(folder.path))
    assert folder.read("frames").num_rows == 13_000


@pytest.mark.timeout(300)  # the floor's kernels may have to be compiled
def test_the_floor_does_the_work_of_a_run(recording, tmp_path):
    agreed = agreement(recording, tmp_path, (*QUICK, *SINGLE, "positions.method=braggnn"))
    assert agreed.missing == ()
    assert agreed.same_peaks == 1.0
    assert agreed.within > 0.99
    assert agreed.tracks[0] == agreed.tracks[1] > 5


def test_the_stages_of_a_frame_are_told(tmp_path):
    (table,) = frames.tables(1, (frames.Case(64, 80, 3), frames.Case(64, 64, 0, "u1")))
    assert [row[2] for row in table.rows] == ["3", "0"]


def test_ways_to_place_peaks_are_told(monkeypatch):
    monkeypatch.setattr(positions, "N_PATCHES", 128)
    monkeypatch.setattr(positions, "N_SCIPY", 2)
    single, pairs = positions.tables(1)
    ratios = {row[0]: row[3] for row in single.rows}
    assert 0.7 < float(ratios["Gaussian fit, one peak"]) < 1.3
    assert len(pairs.rows) == len(positions.SNRS) * len(positions.SEPARATIONS)


@pytest.mark.parametrize("method", ["centroid", "braggnn"])
def test_the_plain_loop_does_the_work_of_the_topology(recording, tmp_path, method):
    settings = (f"positions.method={method}", "positions.device=cpu")
    run(recording, tmp_path / "run", *settings)
    config = load_config(None, [*QUICK, *settings])
    plain_loop(config, recording, tmp_path, 0, 1, threading.Barrier(1))
    assert json.loads((tmp_path / "loop-0.json").read_text())["frames"] == FRAMES
    assert_each_frame_once(tmp_path / "loop-0", FRAMES)
    ours, theirs = (RunFolder(tmp_path / name).read("peaks") for name in ("loop-0", "run"))
    whole = ["frame", "peak_row", "peak_col", "flags", "track"]
    assert ours.select(whole).equals(theirs.select(whole))
    for name in ("row", "col"):
        # A network's answer depends on its batch in the last digits.
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-4)
