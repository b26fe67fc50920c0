"""What the commands ask of those who compute; each answer imports only what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from streamer.config import Config, PositionsConfig

if TYPE_CHECKING:  # a run needs no web server, a page no reports
    from streamer.dashboard.fitter import Fit
    from streamer.dashboard.thresholds import Finding
    from streamer.report.material import Fitter

__all__ = ["patch_fit", "patch_size", "peak_preview", "run_refitter"]


def patch_size(config: Config) -> int:
    """Check finder and position method; return the pixels along each axis of a patch.

    Raises
    ------
    UserError
        There is no such finder or method, or it cannot be used here: its parameters, its
        checkpoint, its device or its backend.
    """
    from workers.detect.choice import FINDERS, finder_of
    from workers.place.methods import make_method, patch_size_of

    detect, positions = config.detect, config.positions
    FINDERS.configure(detect.finder, detect.finders)
    if detect.finder not in FINDERS.own:
        finder_of(detect)  # it alone knows whether it can be made
    if detect.device == "cuda":
        from workers.detect.device.making import cuda_device

        cuda_device(0)
    if positions.method == "braggnn" and positions.backend != "auto":
        from workers.place.network.backends.choice import choose_place

        choose_place(positions.backend, positions.device)
    if positions.method == "braggnn" and positions.device.startswith("cuda"):
        return make_method(positions, 1).patch_size
    return patch_size_of(positions)


def patch_fit(config: PositionsConfig) -> Fit:
    """Return what fits one patch, for comparison with where its peak was placed."""

    def fit(counts: NDArray[np.float32], valid: NDArray[np.bool_]) -> dict[str, float] | None:
        from workers.place.fit.methods import Noise, fit_gaussian

        fits = fit_gaussian(counts[None], valid[None], Noise(config.gain, config.read_noise))
        if not fits.converged[0]:
            return None
        row_sigma, col_sigma = np.sqrt(np.diag(fits.covariance[0])).tolist()
        row, col = float(fits.row[0]), float(fits.col[0])
        return {"row": row, "col": col, "row_sigma": row_sigma, "col_sigma": col_sigma}

    return fit


def peak_preview(config: Config, out: Path) -> Finding:
    """Return what finds the peaks of single frames with other thresholds, as the run would.

    Parameters
    ----------
    out
        Run folder.
    """
    from workers.detect.preview import PeakPreview

    return PeakPreview(config, out)


def run_refitter(config: Config) -> Fitter:
    """Return what fits peaks of a run's frames, corrected as that run did.

    Raises
    ------
    UserError
        The run's mask or dark frame cannot be read any more.
    """
    from workers.place.run_refitter import RunRefitter

    return RunRefitter(config)
