"""What is gathered from many frames, held against all of them."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.dashboard.image import walk
from streamer.dashboard.image.walk import Walk
from streamer.dashboard.requests import RoiOf
from streamer.frames.events import Frame
from tests.unit.streamer.dashboard.image.test_regions import opened  # noqa: F401 - a fixture
from tests.unit.streamer.dashboard.test_server import decode

DONE = [n for n in range(30) if n not in (7, 20)]


def frames(n: int = 30) -> np.ndarray:
    rng = np.random.default_rng(6)
    stack = rng.integers(0, 60_000, (n, 60, 100)).astype(np.uint16)
    stack[:, 10, 10] = 65_535
    stack[5, 11, 11] = 65_535
    return stack


def gathered(view, wanted):
    """Go on until there is no more."""
    gathering = view.gathering
    version = -1
    while (found := gathering._of(wanted)).version != version:
        version = found.version
        gathering._next = 0.0
        gathering.work([wanted])
    return found


def test_counts_in_a_rectangle_are_summed_frame_by_frame(opened):  # noqa: F811
    stack, mask = frames(), np.zeros((60, 100), bool)
    mask[12:14, 12] = True
    view = opened(stack, mask)
    wanted = RoiOf(row=8, col=9, rows=7, cols=20)
    header, arrays = decode(gathered(view, wanted).message({"first": 0, "second": 30}))
    assert arrays["frame"].tolist() == DONE
    valid = ~np.broadcast_to(mask, stack.shape) & (stack < 65_535)
    window = (slice(None), slice(8, 15), slice(9, 29))
    sums = np.where(valid, stack, 0).astype(np.int64)[window].sum((1, 2))
    np.testing.assert_array_equal(arrays["sum"], sums[DONE])
    np.testing.assert_array_equal(arrays["pixels"], valid[window].sum((1, 2))[DONE])
    assert arrays["time"][0] > 1e9
    assert "holds series first" in header["why"]  # of the second series there are no pixels


def test_new_frames_of_a_run_that_goes_on_are_taken_in_as_they_come(opened):  # noqa: F811
    view = opened(frames())
    wanted = RoiOf(row=8, col=9, rows=7, cols=20)
    gathered(view, wanted)
    pixels = np.full((60, 100), 3, np.uint16)
    view.frames._relayed._keep(
        Frame(series="second", frame=29, time_ns=5, shape=(60, 100), dtype="<u2", encoding="raw",
              data=memoryview(pixels.tobytes()))
    )  # fmt: skip
    _, arrays = decode(gathered(view, wanted).message({"first": 0, "second": 30}))
    assert (arrays["frame"][-1], arrays["sum"][-1]) == (59, 3 * 140)


@pytest.mark.parametrize("kind", ["sum", "highest"])
def test_frames_are_stacked_exactly(opened, kind):  # noqa: F811
    stack = frames()
    view = opened(stack)
    gathered(view, kind)
    (name, n), _ = view.gathering.stack(kind)
    assert n == len(DONE)
    pixels = view.regions.whole((name, n))
    whole = stack[DONE].astype(np.int64)
    expected = whole.sum(0) if kind == "sum" else whole.max(0)
    good = (whole < 65_535).all(0)
    assert (~good).sum() == 2
    np.testing.assert_array_equal(pixels.counts[good], expected[good])
    assert (pixels.marks[~good] & 4).all()
    header, _ = decode(view.frames.image((name, n), newest=False))
    assert (header["stack"], header["frame"], header["shape"]) == (kind, n, [60, 100])
    assert "more frames" in view.regions.whole((name, n - 1)).header["why"]


def test_the_first_frames_of_a_walk_are_spread_over_the_run(opened, monkeypatch):  # noqa: F811
    monkeypatch.setattr(walk, "_MOST", 8)
    view = opened(frames())
    gallery = view.gathering._gallery
    visited = []
    one = Walk(view.archive, gallery)
    while (found := one.step()) is not None:
        visited.append(found.key[1])
    assert len(visited) == len(set(visited)) <= 8
    assert max(np.diff(sorted({-1, *visited, 30}))) <= 12


def test_where_there_are_no_pixels_a_walk_gives_up_and_says_why(opened, tmp_path):  # noqa: F811
    view = opened(frames())
    (tmp_path / "first.npy").unlink()
    gathered(view, "sum")
    key, why = view.gathering.stack("sum")
    assert key is None
    assert "does not exist" in why
