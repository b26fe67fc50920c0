"""Position methods by name."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from streamer.config import PositionsConfig
from streamer.plugins import Plugins
from workers.place.base import PATCH_SIZE, MethodPlugin, PositionMethod
from workers.place.centroid import Centroid
from workers.place.fit.methods import GaussianFit, Noise, PseudoVoigtFit
from workers.place.network.architecture import WEIGHTS, Architecture, Convention
from workers.place.network.backend import InferenceBackend
from workers.place.network.dense import read_dense
from workers.place.network.known_peaks import MOST_PX, place_known
from workers.place.network.method import NetworkMethod
from workers.place.network.sight import cuda_in_sight
from workers.place.polished import Polished

__all__ = ["METHODS", "make_method", "patch_size_of"]

_Network = tuple[Architecture, Convention, InferenceBackend]


class _BraggNN(MethodPlugin):
    is_network = True

    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        path = config.checkpoint or WEIGHTS / "compact.pt"
        architecture, convention, backend = self._quick(config, path) or self._by_torch(
            config, path, n_threads
        )
        # Fits refuse noise of none.
        is_noisy = config.gain > 0.0 or config.read_noise > 0.0
        noise = Noise(config.gain, config.read_noise) if is_noisy else None
        method = NetworkMethod(backend, architecture, convention, noise)
        if config.polish and method.patch_size >= PATCH_SIZE:
            return Polished(method, noise)
        return method

    def _quick(self, config: PositionsConfig, path: Path) -> _Network | None:
        """Return a network of dense layers for a CPU that needs no torch, if it is one."""
        on_cpu = config.device == "cpu" or (config.device == "auto" and not cuda_in_sight())
        network = read_dense(path) if on_cpu and config.backend == "auto" else None
        if network is None:
            return None
        convention = Convention()
        if not place_known(network, network.architecture, convention)[1] < MOST_PX:
            return None  # who reads it otherwise says what is wrong
        return network.architecture, convention, network

    def _by_torch(self, config: PositionsConfig, path: Path, n_threads: int) -> _Network:
        # It takes seconds to import: only those who need it wait for it.
        from workers.place.network.backends.choice import choose_place, make_backend
        from workers.place.network.checkpoints import load_network

        device = choose_place(config.backend, config.device)
        network, convention = load_network(path)
        backend = make_backend(config.backend, network, convention, device, n_threads)
        return network.architecture, convention, backend

    def known_patch_size(self, config: PositionsConfig) -> int | None:
        return PATCH_SIZE if config.checkpoint is None else None


class _Gaussian(MethodPlugin):
    fit: ClassVar[type[GaussianFit]] = GaussianFit

    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        return self.fit(Noise(config.gain, config.read_noise))


class _PseudoVoigt(_Gaussian):
    fit = PseudoVoigtFit


class _Centroid(MethodPlugin):
    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        return Centroid()


METHODS = Plugins(
    "position method",
    "positions.methods",
    MethodPlugin,
    {
        "braggnn": _BraggNN,
        "gaussian": _Gaussian,
        "pseudovoigt": _PseudoVoigt,
        "centroid": _Centroid,
    },
)


def make_method(config: PositionsConfig, n_threads: int) -> PositionMethod:
    """Make the configured method, ready to use.

    Parameters
    ----------
    config
        Method with its parameters, checkpoint, device and backend.
    n_threads
        CPU threads that inference may use; torch is set to it for the whole process.

    Raises
    ------
    UserError
        There is no such method, its parameters do not fit, the checkpoint cannot be used, the
        device does not exist, or the backend is not for it or not installed.
    """
    return METHODS.configure(config.method, config.methods).make(config, n_threads)


def patch_size_of(config: PositionsConfig) -> int:
    """Return the pixels along each axis of the patches that the configured method wants.

    Raises
    ------
    UserError
        The method cannot be made; without a checkpoint of the user's, a network is not tried.
    """
    known = METHODS.configure(config.method, config.methods).known_patch_size(config)
    return make_method(config, 1).patch_size if known is None else known
