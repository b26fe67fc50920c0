"""What is compiled ahead is what frames of a run need."""

from __future__ import annotations

import subprocess
import sys

from numba import njit

from workers.kernels import COMPILING, noticed

CODE = """
import numpy as np
from streamer.frames.codecs import decode
from workers.detect import background, flatten, patches, significance
from streamer.config import DetectConfig
from workers.detect.choice import finder_of
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame
from workers.kernels import compile_finder

kernels = background._estimate, flatten._above, flatten._follow, significance.judge, patches._cut
detect = DetectConfig(minval="auto", minscore="auto")
compile_finder(detect, 11)
made = [len(kernel.signatures) for kernel in kernels]
assert all(made), made
pixels = np.random.default_rng(0).poisson(3, (64, 64)).astype("<u2")
pixels[30, 30] = 200
frame = decode(memoryview(pixels.tobytes()), "raw", "<u2", (64, 64))
find_in_frame(frame, Correction(), finder_of(detect), 11)
now = [len(kernel.signatures) for kernel in kernels]
assert now == made, (made, now)
"""

BRIGHT = """
import numpy as np
from streamer.config import DetectConfig
from streamer.frames.events import Frame
from streamer.simulator.stream_v2 import encode_bslz4
from workers.detect import bright, superlevels
from workers.detect.choice import finder_of
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame
from workers.kernels import compile_finder

kernels = bright._list, bright._know, superlevels.merge
finder = finder_of(DetectConfig(minval=40, minscore=60))
compile_finder(DetectConfig(minval=40, minscore=60), 11)
made = [len(kernel.signatures) for kernel in kernels]
assert all(made), made
for dtype in ("<u2", "<u4"):
    pixels = np.zeros((1100, 1000), dtype)
    pixels[30, 30] = 200
    bad = pixels > 300
    coded = Frame(series="a", frame=0, time_ns=0, shape=bad.shape, dtype=dtype, encoding="bslz4",
                  data=memoryview(encode_bslz4(pixels)))
    for correction in (Correction(), Correction(bad)):
        found = bright.BrightReader()(coded, correction, finder.lowest)
        find_in_frame(found.pixels, correction, finder, 11, bright=found)
now = [len(kernel.signatures) for kernel in kernels]
assert now == made, (made, now)
"""

TRACKS = """
import sys
from pathlib import Path
import numpy as np
from streamer.config import load_config
from streamer.frames.peaks import PEAK, POSITION
from streamer.results import records
from streamer.results.folder import RunFolder
from streamer.sink.commit import Committer
from streamer.sink.tables import Result, Row
from streamer.tracks import (
    angles, averages, booking, course, following, grid, motion, multiplicity, similarity,
)
from streamer.tracks.kernels import compile_tracks
from streamer.tracks.linking import Tracking
from streamer.transport.messages import FramePeaks

kernels = [
    kernel
    for module in (
        angles, averages, booking, course, following, grid, motion, multiplicity, records,
        similarity,
    )
    for kernel in vars(module).values()
    if hasattr(kernel, "signatures")
]
compile_tracks()
made = [len(kernel.signatures) for kernel in kernels]
assert any(made), made
folder = RunFolder.create(Path(sys.argv[1]))
given = ("distance_m=1", "beam_row=9", "beam_col=9", "pixel_m=1e-4")
config = load_config(None, [f"geometry.{one}" for one in given])
first, second = (Tracking(config, folder) for _ in range(2))
first._linker.tracker.hide(np.zeros((64, 64), np.bool_))
committer = Committer(folder, first, first=0, upto=0, most_rows=3, commit_s=1.0)
for place in range(9):
    n = place % 4
    peaks, positions = np.zeros(n, PEAK), np.zeros(n, POSITION)
    positions["row"] = 20.0 * np.arange(n)
    peaks.flags.writeable = positions.flags.writeable = False  # as they come from messages
    row = Row.of(Result(FramePeaks(place, "a", place, 1, 1, n), peaks, positions))
    row.linked = first.link(place, peaks, positions)
    committer.add(row)
    if place % 3 == 2:
        committer.write(place)
second.resume(range(9), lambda series, frame: frame, first.next_track)
for tracking in (first, second):
    tracking.write(now=True)
now = [len(kernel.signatures) for kernel in kernels]
assert now == made, (made, now)
"""


def test_what_is_linked_waits_for_no_compiler(tmp_path):
    subprocess.run([sys.executable, "-c", TRACKS, str(tmp_path / "run")], check=True)


def test_a_decoded_frame_waits_for_no_compiler():
    subprocess.run([sys.executable, "-c", CODE], check=True)


def test_a_frame_read_for_its_bright_pixels_waits_for_no_compiler():
    subprocess.run([sys.executable, "-c", BRIGHT], check=True)


def test_that_something_is_compiled_is_said_once_and_only_then():
    @njit
    def once(x):
        return x + 1

    said = []
    with noticed(said.append):
        once(1)
        assert said == [COMPILING]
        once(2.0)
    once(1j)
    assert said == [COMPILING]
    said.clear()
    with noticed(said.append):
        once(1)
    assert said == []
