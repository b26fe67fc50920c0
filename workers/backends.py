"""What computes a network's answers, and on which device."""

from __future__ import annotations

import re
import time
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from streamer.errors import UserError
from workers.braggnn import BraggNN, FoldedBraggNN

__all__ = ["InferenceBackend", "TorchBackend", "channels_last", "choose_device"]

_CPU_CHUNKS = (64, 128, 256, 512, 1024)
_CUDA_CHUNK = 4096


class InferenceBackend(Protocol):
    """Computes the answers of one network."""

    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Map inputs to answers.

        Parameters
        ----------
        images
            (n, inputs, size, size); n may be 0. See `workers.braggnn.Architecture` for the names
            of lengths.
        scales
            (n, scales).

        Returns
        -------
        NDArray
            (n, outputs).
        """
        ...


def choose_device(name: str) -> torch.device:
    """Return the device of that name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    UserError
        The name is none of these, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"device {name!r}: use auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"device {name!r}: torch finds no CUDA here; use auto or cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise UserError(f"device {name!r}: the last CUDA device here is cuda:{count - 1}")
    return device


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
            self.chunk = self._fastest_chunk()

    @torch.inference_mode()
    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Map inputs to answers; see `InferenceBackend`."""
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

    def _fastest_chunk(self) -> int:
        shape, rng = self._architecture, np.random.default_rng(0)
        n = max(_CPU_CHUNKS)
        images = rng.random((n, shape.inputs, shape.patch_size, shape.patch_size), np.float32)
        scales = rng.random((n, shape.scales), np.float32)
        best = dict.fromkeys(_CPU_CHUNKS, float("inf"))
        # Rounds over all sizes, so that other load on the machine hits all of them.
        end = time.perf_counter() + 0.6
        while time.perf_counter() < end:
            for self.chunk in _CPU_CHUNKS:
                start = time.perf_counter()
                self(images, scales)
                best[self.chunk] = min(best[self.chunk], time.perf_counter() - start)
        return min(best, key=lambda chunk: best[chunk])
