"""Position methods by name."""

from __future__ import annotations

from streamer.config import PositionsConfig
from workers.place.base import PATCH_SIZE, PositionMethod
from workers.place.centroid import Centroid
from workers.place.fit.methods import GaussianFit, Noise, PseudoVoigtFit
from workers.place.network.method import NetworkMethod

__all__ = ["make_method", "patch_size_of"]


def make_method(config: PositionsConfig, n_threads: int) -> PositionMethod:
    """Make the configured method, ready to use.

    Parameters
    ----------
    config
        Method, checkpoint, device and backend.
    n_threads
        CPU threads that inference may use; torch is set to it for the whole process.

    Raises
    ------
    UserError
        The checkpoint cannot be used, the device does not exist, or the backend is not for it or
        not installed.
    """
    if config.method == "centroid":
        return Centroid()
    if config.method in ("gaussian", "pseudovoigt"):
        fit = GaussianFit if config.method == "gaussian" else PseudoVoigtFit
        return fit(Noise(config.gain, config.read_noise))
    # torch takes seconds to import: only those who need it wait for it.
    from workers.place.network.backends.choice import choose_place, make_backend
    from workers.place.network.checkpoints import WEIGHTS, load_network

    device = choose_place(config.backend, config.device)
    network, convention = load_network(config.checkpoint or WEIGHTS / "compact.pt")
    backend = make_backend(config.backend, network, convention, device, n_threads)
    return NetworkMethod(backend, network.architecture, convention)


def patch_size_of(config: PositionsConfig) -> int:
    """Return the pixels along each axis of the patches that the configured method wants.

    Raises
    ------
    UserError
        The method cannot be made; without a checkpoint of the user's, a network is not tried.
    """
    if config.method == "braggnn" and config.checkpoint is None:
        return PATCH_SIZE  # known without torch, which takes seconds to import
    return make_method(config, 1).patch_size
