"""How far the positions of a run are from the known truth of a simulated one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from streamer.frames.flags import POOR_FIT

__all__ = ["Comparison", "compare", "points"]

_CLEAR_PX = 11.0
"""A spot with no other within this distance has a patch of its own."""
_FRAME_STRIDE = 1e6


@dataclass(frozen=True, slots=True)
class Comparison:
    """Found peaks matched with true spots."""

    error: NDArray[np.float64]
    """Distance in pixels of each match."""
    clear: NDArray[np.bool_]
    """For each match, that no other spot reaches into the patch."""
    true_row: NDArray[np.int64]
    """For each match, the row of the truth table."""
    peak_row: NDArray[np.int64]
    """For each match, the row of the peaks table."""
    visible: int
    """Spots that could be found."""
    found: int
    """Those of them that were."""
    false: int
    """Peaks that no spot is near, not flagged."""
    flagged: int
    """Peaks that no spot is near, flagged as no peak, such as hot pixels."""

    def percentile(self, q: float, *, clear: bool = False) -> float:
        """Return a percentile of the error in pixels; NaN without a match."""
        error = self.error[self.clear] if clear else self.error
        return float(np.percentile(error, q)) if len(error) else float("nan")


def compare(truth: pa.Table, peaks: pa.Table, gate_px: float = 2.0) -> Comparison:
    """Match the peaks of a run with the spots that were visible on each frame.

    Each is matched with the nearest of the other kind, at most `gate_px` away.

    Parameters
    ----------
    truth
        Table of `streamer.simulator.truth`; row and column in pixels.
    peaks
        Table of the run folder, of one series.
    """
    is_none = (peaks["flags"].to_numpy() & POOR_FIT) != 0
    # Every spot can explain a peak; only visible ones are expected to be found.
    true_at, found_at = points(truth), points(peaks)
    visible = truth["visible"].to_numpy(zero_copy_only=False)
    if not len(found_at) or not len(true_at):
        none = np.empty(0, np.int64)
        return Comparison(
            np.empty(0),
            np.empty(0, bool),
            none,
            none,
            visible=int(visible.sum()),
            found=0,
            false=int((~is_none).sum()),
            flagged=int(is_none.sum()),
        )
    spots, found = cKDTree(true_at), cKDTree(found_at)
    seen = np.flatnonzero(visible)
    distance, nearest = found.query(true_at[seen], distance_upper_bound=gate_px)
    matched = np.isfinite(distance)
    _, back = spots.query(found_at[nearest[matched]])
    mutual = back == seen[matched]
    true_row, peak_row = seen[matched][mutual], nearest[matched][mutual]
    error = distance[matched][mutual]
    # The second nearest of the spots that carry counts is the nearest other.
    strong = np.flatnonzero(truth["amplitude"].to_numpy() > 1.0)
    other = cKDTree(true_at[strong]).query(true_at[true_row], k=2)[0][:, 1]
    unexplained = spots.query(found_at, distance_upper_bound=gate_px)[0]
    return Comparison(
        error=error,
        clear=other > _CLEAR_PX,
        true_row=true_row,
        peak_row=peak_row,
        visible=len(seen),
        found=len(true_row),
        false=int((np.isinf(unexplained) & ~is_none).sum()),
        flagged=int((np.isinf(unexplained) & is_none).sum()),
    )


def points(table: pa.Table) -> NDArray[np.float64]:
    """Return (n, 3): frame, row and column, frames so far apart that no match crosses them."""
    columns = [pc.cast(table[name], pa.float64()).to_numpy() for name in ("frame", "row", "col")]
    points = np.stack(columns, axis=1)
    points[:, 0] *= _FRAME_STRIDE
    return points
