"""Draw the drift of a reflection beside the cell's voltage, and print both.

python examples/drift_beside_voltage.py runs/today drift.png [TRACK]

Of a run without TRACK, it is the reflection of the track whose drift is the most significant.
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from streamer.errors import UserError
from streamer.frames.flags import POOR_FIT
from streamer.results import Run, open_run

SHOWN = 10
"""Observations of each spot that are printed."""


def most_significant(run: Run) -> int:
    """Return the track whose drift is the most significant, of those that look like a peak."""
    tracks = run.tracks.filter((run.tracks["flags"].to_numpy() & POOR_FIT) == 0)
    significance = tracks["significance"].to_numpy()
    if not np.isfinite(significance).any():
        raise UserError(f"{run.path}: no track has a drift with a standard deviation")
    return int(tracks["track"][int(np.nanargmax(significance))].as_py())


def tell(spot: dict[str, object], drift: pa.Table, cell: pa.Table, begin_ns: int) -> None:
    """Print where a spot stands, and how far it is from where the reflection was first."""
    print("track {track}: {n_frames} frames".format(**spot))
    print("  drift  {drift:+.4f} +- {drift_sigma:.4f} px".format(**spot))
    print("  strain {strain:+.6f} +- {strain_sigma:.6f}".format(**spot))  # NaN without a geometry
    voltage = np.interp(drift["time_ns"], cell["time_ns"], cell["voltage_v"])
    print(f"  {'time / s':>10} {'drift / px':>14} {'sigma / px':>10} {'voltage / V':>11}")
    for i in np.unique(np.linspace(0, len(drift) - 1, SHOWN).astype(int)):
        seconds = (drift["time_ns"][i].as_py() - begin_ns) * 1e-9
        values = (drift["drift"][i].as_py(), drift["drift_sigma"][i].as_py(), voltage[i])
        print("  {:10.2f} {:14.4f} {:10.4f} {:11.3f}".format(seconds, *values))


def main(folder: str, picture: str, track: str | None = None) -> None:
    """Draw and print."""
    run = open_run(folder)
    if not run.cell.num_rows:
        raise UserError(f"{folder} has no cell: give the run --set cell.file=FILE")
    spots = run.reflection(most_significant(run) if track is None else int(track))
    begin_ns = run.frames["time_ns"][0].as_py()
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for spot in run.tracks.to_pylist():
        drift = spots.filter(spots["track"].to_numpy() == spot["track"])
        if not len(drift):
            continue
        tell(spot, drift, run.cell, begin_ns)
        seconds = (drift["time_ns"].to_numpy() - begin_ns) * 1e-9
        # The more of the intensity a spot has, the larger it is drawn.
        size = 12.0 * np.clip(drift["share"].to_numpy(), 0.05, 1.0)
        above.scatter(seconds, drift["drift"], size, label=spot["track"], lw=0)
    above.set_ylabel("drift / px")
    above.set_title("from where the reflection was first", fontsize="medium")
    above.legend(title="track")
    below.plot((run.cell["time_ns"].to_numpy() - begin_ns) * 1e-9, run.cell["voltage_v"])
    below.set_ylabel("voltage / V")
    below.set_xlabel("time since the first frame / s")
    figure.savefig(picture, dpi=150)
    print(f"drawn: {picture}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python examples/drift_beside_voltage.py DIR FILE.png [TRACK]")
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
