"""Compiles what is compiled on first use, so that no frame has to wait for it.

The result is kept beside the code and found there by every later process. ``python -m
workers.kernels`` does it when the program is installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from streamer.config import DetectConfig, PositionsConfig
from workers.place.base import PATCH_SIZE

__all__ = ["COMPILING", "compile_finder", "compile_fit", "compile_network", "noticed"]

COMPILING = "compiling the kernels, once: it takes a minute or two"


@contextmanager
def noticed(say: Callable[[str], object]) -> Iterator[None]:
    """Have it said once if anything is compiled meanwhile, and not found where it is kept."""
    from numba.core import event

    class Listener(event.Listener):
        is_new = True

        def on_start(self, event: object) -> None:
            if self.is_new:
                say(COMPILING)
            self.is_new = False

        def on_end(self, event: object) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        yield


# Each imports what it compiles: a node does not wait for what others use.
def compile_finder(detect: DetectConfig, patch_size: int) -> None:
    """Compile what detector workers use, for frames of the usual types."""
    from workers.detect.bright import BrightReader
    from workers.detect.choice import finder_of
    from workers.detect.correction import Correction
    from workers.detect.node import find_in_frame

    finder = finder_of(detect)
    for dtype in (np.uint16, np.uint32):
        frame = np.zeros((64, 64), dtype)
        frame[30, 30] = 100
        frame.flags.writeable = False  # as decoded frames are, for which other code is made
        find_in_frame(frame, Correction(), finder, patch_size)
        BrightReader().compile(frame.dtype)


def compile_fit() -> None:
    """Compile the fits of one, two and three peaks, which are one kernel, and the quick one."""
    from workers.place.fit.methods import GaussianFit, Noise, polish
    from workers.place.flanks import draws

    patch = np.ones((1, PATCH_SIZE, PATCH_SIZE), np.float32)
    GaussianFit(Noise()).place(patch, patch > 0)
    polish(patch, patch > 0, np.zeros((1, 2)))
    draws(np.ones((1, 2)), np.ones((1, 2)), np.ones((1, 2)), np.ones(1), 5)


def compile_network() -> None:
    """Compile what leads patches to a network, and its answers to positions."""
    from workers.place.methods import make_method

    patch = np.ones((1, PATCH_SIZE, PATCH_SIZE), np.float32)
    make_method(PositionsConfig(device="cpu"), 1).place(patch, patch > 0)


def main() -> None:
    """Compile everything, saying so."""
    from rich.console import Console

    from streamer.tracks.kernels import compile_tracks

    console = Console()
    start = time.monotonic()
    with console.status("compiling the kernels, once"):
        for threshold in ("auto", 1.0):
            detect = DetectConfig(minval=threshold, minscore=threshold)
            compile_finder(detect, PATCH_SIZE)
        compile_fit()
        compile_network()
        compile_tracks()
    console.print(f"kernels are compiled ({time.monotonic() - start:.0f} s)", highlight=False)


if __name__ == "__main__":
    main()
