"""Inference by torch as it stands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workers.place.network.backends.pace import cpu_clock, fastest_chunk, measure
from workers.place.network.braggnn import BraggNN, FoldedBraggNN

__all__ = ["TorchBackend", "channels_last"]

_CPU_CHUNKS = (64, 128, 256, 512, 1024)
_CUDA_CHUNK = 4096


def channels_last(network: BraggNN) -> BraggNN:
    """Lay the network's weights out for images whose channels lie next to each other.

    So they leave the folded attention, and convolutions of them are the fastest.
    """
    for layer in network.cnn_layers:
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return network


class TorchBackend:
    """Inference by torch, on a CPU or a CUDA device.

    A batch is worked on in chunks that stay in the processor's cache. How large these should be
    differs from machine to machine, so it is measured when the backend is made, in less than a
    second.

    Parameters
    ----------
    network
        The network; it is moved to `device`.
    device
        Where to compute.
    n_threads
        CPU threads; torch is set to it for the whole process.
    chunk
        Patches in a chunk; None measures.
    """

    def __init__(
        self, network: BraggNN, device: torch.device, n_threads: int, chunk: int | None = None
    ):
        torch.set_num_threads(n_threads)
        self.device = device
        self._architecture = network.architecture
        network = channels_last(network).to(device).eval()
        with torch.inference_mode():
            self._folded = FoldedBraggNN(network)
        self.chunk = chunk or _CUDA_CHUNK
        if chunk is None and device.type == "cpu":
            self.chunk = self._fastest_chunk(cpu_clock(n_threads))

    @torch.inference_mode()
    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Map inputs to answers; see `workers.place.network.backend.InferenceBackend`."""
        if not len(images):
            return np.empty((0, self._architecture.outputs), np.float32)
        chunks = zip(
            torch.split(torch.from_numpy(images), self.chunk),
            torch.split(torch.from_numpy(scales), self.chunk),
            strict=True,
        )
        answers = [
            self._folded(image.to(self.device), scale.to(self.device)) for image, scale in chunks
        ]
        result: NDArray[np.float32] = torch.cat(answers).cpu().numpy()
        return result

    def _fastest_chunk(self, clock: Callable[[], float]) -> int:
        shape, rng = self._architecture, np.random.default_rng(0)
        self.chunk = max(_CPU_CHUNKS)
        images = rng.random(
            (self.chunk, shape.inputs, shape.patch_size, shape.patch_size), np.float32
        )
        scales = rng.random((self.chunk, shape.scales), np.float32)
        work = {size: partial(self, images[:size], scales[:size]) for size in _CPU_CHUNKS}
        return fastest_chunk(measure(work, clock))
