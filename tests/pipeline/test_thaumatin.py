"""Real frames: stills of a protein crystal, with module gaps, bad pixels and a hot one."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.results.folder import RunFolder
from tests.conftest import SHARED
from tests.pipeline.conftest import launch
from workers.detect.choice import make_finder

STILLS = SHARED / "data" / "thaumatin" / "thau_3_2_0001-0019_crop768.npz"
MINVAL, MINSCORE = 20, 30
SIDE = 72

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not STILLS.exists(), reason="the recorded stills are not beside the project"
    ),
]


@pytest.fixture(scope="module")
def stills():
    with np.load(STILLS) as file:
        return file["frames"]


@pytest.fixture(scope="module")
def table(stills, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thaumatin")
    np.save(folder / "mask.npy", (stills < 0).any(axis=0))
    out = folder / "run"
    done = launch(
        "replay", f"{STILLS}::frames", "--out", str(out),
        "--set", f"detect.minval={MINVAL}", "--set", f"detect.minscore={MINSCORE}",
        "--set", f"detect.mask={folder / 'mask.npy'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert RunFolder(out).read_summary()["frames"]["done"] == 19
    return RunFolder(out).read("peaks")


def test_peaks_on_every_still_are_those_of_the_finder_and_stand_clear_of_the_mask(stills, table):
    masked = (stills < 0).any(axis=0)
    finder = make_finder("topology", MINVAL, MINSCORE)
    frame = table["frame"].to_numpy()
    columns = [table[name].to_numpy() for name in ("peak_row", "peak_col", "score")]
    assert len(frame) > 1000
    for number, still in enumerate(stills):
        wanted = finder(still, masked)
        got = {tuple(row) for row in np.stack(columns, 1)[frame == number].tolist()}
        assert got == set(zip(wanted.row, wanted.col, wanted.score, strict=True))
        assert not masked[wanted.row, wanted.col].any()


@pytest.mark.parametrize("number", [4, 8, 12])
def test_peaks_equal_findpeaks_on_crops(stills, table, number):
    """Compare where a crop decides alone: peaks whose island does not reach the crop's border."""
    from scipy.ndimage import label

    masked = (stills < 0).any(axis=0)
    zeroed = np.where((stills[number] >= MINVAL) & ~masked, stills[number], 0)
    frame = table["frame"].to_numpy()
    got = {
        (int(row), int(col)): score
        for row, col, score, of in zip(
            *(table[name].to_numpy() for name in ("peak_row", "peak_col", "score")),
            frame,
            strict=True,
        )
        if of == number
    }
    rows = np.array([row for row, _ in got])
    cols = np.array([col for _, col in got])
    compared = 0
    reference = make_finder("findpeaks", MINVAL, MINSCORE)
    # The crops with the most peaks say the most.
    corners = [(r, c) for r in range(0, 768 - SIDE, SIDE) for c in range(0, 768 - SIDE, SIDE)]
    corners.sort(
        key=lambda at: (
            -(
                (rows >= at[0]) & (rows < at[0] + SIDE) & (cols >= at[1]) & (cols < at[1] + SIDE)
            ).sum()
        )
    )
    for top, left in corners[:3]:
        window = slice(top, top + SIDE), slice(left, left + SIDE)
        islands, _ = label(zeroed[window] > 0, np.ones((3, 3)))
        border = np.unique(np.concatenate([islands[0], islands[-1], islands[:, 0], islands[:, -1]]))
        found = reference(stills[number][window], masked[window])
        inside = {
            (int(row) + top, int(col) + left): score
            for row, col, score in zip(found.row, found.col, found.score, strict=True)
            if islands[row, col] not in border
        }
        ours = {
            (row, col): score
            for (row, col), score in got.items()
            if top <= row < top + SIDE
            and left <= col < left + SIDE
            and islands[row - top, col - left] not in border
        }
        assert ours == inside
        compared += len(inside)
    assert compared > 10


def test_positions_are_near_their_peaks_and_within_the_frame(table):
    distance = np.hypot(
        table["row"].to_numpy() - table["peak_row"].to_numpy(),
        table["col"].to_numpy() - table["peak_col"].to_numpy(),
    )
    flags = table["flags"].to_numpy()
    assert np.median(distance[flags == 0]) < 0.6
    assert np.isfinite(distance).all()


def test_peaks_beside_gaps_are_flagged(stills, table):
    masked = (stills < 0).any(axis=0)
    rows, cols = table["peak_row"].to_numpy(), table["peak_col"].to_numpy()
    flags = table["flags"].to_numpy()
    for row, col, flag in zip(rows, cols, flags, strict=True):
        near = masked[max(row - 5, 0) : row + 6, max(col - 5, 0) : col + 6].any()
        assert bool(flag & 2) == near
        assert bool(flag & 1) == (not (5 <= row < 763 and 5 <= col < 763))
