"""Inference by captured CUDA graphs, in the fastest arithmetic that is exact enough."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.place.network.architecture import Architecture
from workers.place.network.backend import InferenceBackend
from workers.place.network.backends.eager import channels_last
from workers.place.network.backends.pace import measure
from workers.place.network.backends.self_check import SelfCheck
from workers.place.network.backends.sized import SizedBackend
from workers.place.network.braggnn import BraggNN, FoldedBraggNN

__all__ = ["ARITHMETIC", "CudaGraphsBackend", "CudaProgram", "arithmetic", "choose_arithmetic"]

logger = logging.getLogger(__name__)

ARITHMETIC = ("float16", "tf32", "float32")
"""What products may be computed in; sums are in float32 with all of them."""
_SIZES = (64, 256, 512, 1024, 2048, 4096)
_TRIAL = 512
"""Batch size with which arithmetic is chosen."""
_WARM_UP = 3
"""Runs before the capture, in which libraries choose kernels and take memory."""


@contextmanager
def arithmetic(name: str) -> Iterator[None]:
    """Compute in this arithmetic; what is captured meanwhile keeps it when it is replayed."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if name == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = name != "float32"
    try:
        # Without the cache, whose tensors would belong to a graph and outlive it.
        with torch.autocast("cuda", torch.float16, name == "float16", cache_enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def choose_arithmetic(backends: Mapping[str, InferenceBackend], check: SelfCheck) -> str:
    """Return the name of the fastest backend that agrees with the reference.

    Raises
    ------
    RuntimeError
        None does.
    """
    agreeing = {}
    for name, backend in backends.items():
        deviation = check.deviation(backend)
        if deviation.accepted:
            agreeing[name] = backend
        else:
            logger.info("%s is not used: off by %s", name, deviation)
    if not agreeing:
        raise RuntimeError("no arithmetic of this device agrees with float32 on the CPU")
    times = measure({name: partial(check.place, backend) for name, backend in agreeing.items()})
    return min(times, key=lambda name: times[name])


class CudaGraphsBackend(SizedBackend):
    """Inference on one CUDA device, for a few batch sizes known beforehand.

    Parameters
    ----------
    network
        The network; it is moved to `device`.
    device
        A CUDA device.
    check
        What decides whether less than float32 will do.
    sizes
        Batch sizes to capture graphs for.

    Raises
    ------
    RuntimeError
        The device, its driver or its memory fails, or no arithmetic is exact enough.
    """

    def __init__(
        self,
        network: BraggNN,
        device: torch.device,
        check: SelfCheck,
        sizes: Sequence[int] = _SIZES,
    ):
        shape = network.architecture
        with torch.inference_mode():
            folded = FoldedBraggNN(channels_last(network).to(device).eval())
        trials = {
            name: SizedBackend(
                {_TRIAL: CudaProgram(folded, shape, _TRIAL, device, name)}, shape, {_TRIAL: 1.0}
            )
            for name in ARITHMETIC
        }
        self.arithmetic = choose_arithmetic(trials, check)
        trials.clear()
        logger.info("%s computes in %s", device, self.arithmetic)
        super().__init__(
            {size: CudaProgram(folded, shape, size, device, self.arithmetic) for size in sizes},
            shape,
        )


class CudaProgram:
    """A captured graph with the memory it reads and writes.

    Calls wait for the device: to cut and to normalise the next patches takes the CPU longer than
    this takes the device, so there is nothing to overlap.

    Parameters
    ----------
    network
        Maps images and scales on `device` to answers.
    shape
        The network's architecture.
    size
        Patches in a batch.
    device
        A CUDA device.
    precision
        One of `ARITHMETIC`.
    """

    def __init__(
        self,
        network: Callable[[Tensor, Tensor], Tensor],
        shape: Architecture,
        size: int,
        device: torch.device,
        precision: str,
    ):
        self._device = device
        lengths = ((size, shape.inputs, shape.patch_size, shape.patch_size), (size, shape.scales))
        with torch.cuda.device(device), torch.inference_mode(), arithmetic(precision):
            self._staged = [torch.zeros(length, pin_memory=True) for length in lengths]
            self._inputs = [torch.zeros(length, device=device) for length in lengths]
            # A capture wants a stream of its own, and must find the inputs written.
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP):
                    network(*self._inputs)
            self._stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._answers = network(*self._inputs).float()
            self._result = torch.zeros(self._answers.shape, pin_memory=True)

    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Compute one batch; see `workers.place.network.backends.sized.Program`."""
        # Everything in one stream: in order, and the graph's memory is never used twice at once.
        with (
            torch.cuda.device(self._device),
            torch.cuda.stream(self._stream),
            torch.inference_mode(),
        ):
            for staged, given, array in zip(
                self._staged, self._inputs, (images, scales), strict=True
            ):
                staged.copy_(torch.from_numpy(array))
                given.copy_(staged, non_blocking=True)
            self._graph.replay()
            self._result.copy_(self._answers, non_blocking=True)
            self._stream.synchronize()
            answers: NDArray[np.float32] = self._result.numpy()
        return answers
