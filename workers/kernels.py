"""Compiles what is compiled on first use, so that no frame has to wait for it.

The result is kept beside the code and found there by every later process. ``python -m
workers.kernels`` does it when the program is installed.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console

from workers.detect.choice import make_finder
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame
from workers.place.fit.methods import GaussianFit, Noise

__all__ = ["compile_finder", "compile_fit"]


def compile_finder(patch_size: int) -> None:
    """Compile what detector workers use, for frames of the usual types."""
    finders = make_finder("topology", 1.0, 1.0), make_finder("topology", "auto", "auto")
    for dtype in (np.uint16, np.uint32):
        frame = np.zeros((64, 64), dtype)
        frame[30, 30] = 100
        frame.flags.writeable = False  # as decoded frames are, for which other code is made
        for finder in finders:
            find_in_frame(frame, Correction(), finder, patch_size)


def compile_fit() -> None:
    """Compile the fits of one, two and three peaks: all are one kernel."""
    patch = np.ones((1, GaussianFit.patch_size, GaussianFit.patch_size), np.float32)
    GaussianFit(Noise()).place(patch, patch > 0)


def main() -> None:
    """Compile everything, saying so."""
    console = Console()
    start = time.monotonic()
    with console.status("compiling the kernels, once"):
        compile_finder(GaussianFit.patch_size)
        compile_fit()
    console.print(f"kernels are compiled ({time.monotonic() - start:.0f} s)", highlight=False)


if __name__ == "__main__":
    main()
