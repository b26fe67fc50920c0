"""Inference by what torch makes of a network with a C++ compiler, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from workers.place.network.backends.eager import channels_last
from workers.place.network.backends.pace import cpu_clock
from workers.place.network.backends.sized import Program, SizedBackend
from workers.place.network.braggnn import BraggNN, FoldedBraggNN

__all__ = ["CompiledBackend"]

_SIZES = (64, 512)
"""Only two, for each costs ten seconds or more at the start."""


class CompiledBackend(SizedBackend):
    """Inference by `torch.compile`, for a few batch sizes known beforehand.

    Parameters
    ----------
    network
        The network, on the CPU.
    sizes
        Batch sizes to compile for.
    compiler
        As `torch.compile` calls it.

    Raises
    ------
    RuntimeError
        The compiler failed.
    """

    def __init__(self, network: BraggNN, sizes: Sequence[int] = _SIZES, compiler: str = "inductor"):
        with torch.inference_mode():
            folded = FoldedBraggNN(channels_last(network).eval())
        programs = {size: _program(folded, compiler) for size in sizes}
        super().__init__(programs, network.architecture, clock=cpu_clock(torch.get_num_threads()))


def _program(folded: FoldedBraggNN, compiler: str) -> Program:
    # Of fixed size: what is compiled for any size is slower, and compiled again for a batch of one.
    run = torch.compile(
        lambda images, scales: folded(images, scales), dynamic=False, backend=compiler
    )

    @torch.inference_mode()
    def program(images: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.float32]:
        answers: NDArray[np.float32] = run(
            torch.from_numpy(images), torch.from_numpy(scales)
        ).numpy()
        return answers

    return program
