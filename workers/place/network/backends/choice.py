"""Which backend computes a network's answers: by name, and only if its answers are right."""

from __future__ import annotations

import importlib.util
import logging
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

import torch

from streamer.errors import UserError
from workers.place.network.backend import InferenceBackend
from workers.place.network.backends.cuda import CudaGraphsBackend
from workers.place.network.backends.device import choose_device
from workers.place.network.backends.eager import TorchBackend
from workers.place.network.backends.openvino import OpenVinoBackend
from workers.place.network.backends.pace import cpu_clock, measure
from workers.place.network.backends.self_check import SelfCheck
from workers.place.network.braggnn import BraggNN

if TYPE_CHECKING:
    from workers.place.network.architecture import Convention

__all__ = ["available", "choose_place", "make_backend"]

logger = logging.getLogger(__name__)

_DEVICES = {
    "eager": ("cpu", "cuda"),
    "openvino": ("cpu",),
    "cuda-graphs": ("cuda",),
}
_FAILURES = (ImportError, OSError, RuntimeError)
"""What drivers and libraries that do not fit this machine raise."""


def choose_place(backend: str, device: str) -> torch.device:
    """Return the device for a backend, both named as in the configuration.

    Raises
    ------
    UserError
        There is no such device, it is not one for this backend, or what the backend needs is not
        installed.
    """
    possible = _DEVICES.get(backend, ("cpu", "cuda"))
    chosen = choose_device("cpu" if device == "auto" and "cuda" not in possible else device)
    if chosen.type not in possible:
        kind, other = ("CUDA", "cuda") if chosen.type == "cpu" else ("the CPU", "cpu")
        raise UserError(
            f"backend {backend!r} computes on {kind}, not on {chosen}: set positions.device={other}"
            " or positions.backend=auto"
        )
    if backend == "openvino" and importlib.util.find_spec("openvino") is None:
        raise UserError(
            "backend 'openvino' is not installed: pip install 'braggstream[openvino]',"
            " or set positions.backend=auto"
        )
    return chosen


def available() -> list[str]:
    """Return the names of the backends that this machine has what it takes for."""
    names = []
    for name in _DEVICES:
        try:
            choose_place(name, "auto")
        except UserError:
            continue
        names.append(name)
    return names


def make_backend(
    name: str,
    network: BraggNN,
    convention: Convention | None,
    device: torch.device,
    n_threads: int,
) -> InferenceBackend:
    """Make the backend of that name, or the best one that gives the right answers.

    ``auto`` is captured graphs on CUDA. On a CPU it is OpenVINO where it is installed and measured
    to be faster here than torch, which takes a second.

    Every backend but torch's own on the CPU is compared with float32 on the CPU before it is used.
    One that is off, or fails, is not: the log says so, and torch computes, at worst on the CPU.

    Parameters
    ----------
    name
        As in the configuration.
    network
        The network, on the CPU, where it stays.
    convention
        See `workers.place.network.method.NetworkMethod`.
    device
        Where to compute, from `choose_place`.
    n_threads
        CPU threads; torch is set to it for the whole process.
    """
    torch.set_num_threads(n_threads)
    cpu, auto = torch.device("cpu"), name == "auto"
    if auto:
        name = "cuda-graphs" if device.type == "cuda" else "openvino"
        name = name if name in available() else "eager"
    backend: InferenceBackend | None = None
    unsure = [kind for kind in dict.fromkeys((name, "eager")) if (kind, device) != ("eager", cpu)]
    if unsure:
        check = SelfCheck(network, convention)
        for kind in unsure:
            # A copy: from a device that failed, the weights may not come back.
            backend = backend or _checked(kind, deepcopy(network), device, n_threads, check)
    if backend is None or (auto and device == cpu):
        eager = TorchBackend(network, cpu, n_threads)
        backend = _faster(eager, backend, check) if backend else eager
    logger.info("inference by %s on %s", type(backend).__name__, device)
    return backend


def _checked(
    kind: str, network: BraggNN, device: torch.device, n_threads: int, check: SelfCheck
) -> InferenceBackend | None:
    """Return a backend whose answers are right, or None and say why not."""
    try:
        backend = _build(kind, network, device, n_threads, check)
        deviation = check.deviation(backend)
    except _FAILURES as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        logger.warning("backend %s cannot be used on %s: %s", kind, device, reason)
        return None
    if deviation.accepted:
        return backend
    logger.warning("backend %s is not used: on %s it is off by %s", kind, device, deviation)
    return None


def _build(
    kind: str, network: BraggNN, device: torch.device, n_threads: int, check: SelfCheck
) -> InferenceBackend:
    if kind == "cuda-graphs":
        return CudaGraphsBackend(network, device, check)
    if kind == "openvino":
        return OpenVinoBackend(network, n_threads)
    return TorchBackend(network, device, n_threads)


def _faster(one: InferenceBackend, other: InferenceBackend, check: SelfCheck) -> InferenceBackend:
    work = {backend: partial(check.place, backend) for backend in (one, other)}
    times = measure(work, cpu_clock(torch.get_num_threads()))
    return min(times, key=lambda backend: times[backend])
