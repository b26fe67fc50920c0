"""The network that is configured, ready to place peaks."""

from __future__ import annotations

from pathlib import Path

from streamer.config import PositionsConfig
from workers.place.base import PATCH_SIZE, PositionMethod
from workers.place.fit.methods import Noise
from workers.place.network.architecture import WEIGHTS, Architecture, Convention
from workers.place.network.backend import InferenceBackend
from workers.place.network.dense import read_dense
from workers.place.network.known_peaks import MOST_PX, place_known
from workers.place.network.method import NetworkMethod
from workers.place.network.sight import cuda_in_sight
from workers.place.polished import Polished

__all__ = ["make_network"]

_Network = tuple[Architecture, Convention, InferenceBackend]


def make_network(config: PositionsConfig, n_threads: int) -> PositionMethod:
    """Make the method of a network; see `workers.place.base.MethodPlugin.make`."""
    path = config.checkpoint or WEIGHTS / "compact.pt"
    on_cpu = config.device == "cpu" or (config.device == "auto" and not cuda_in_sight())
    network = _in_numpy(path) if on_cpu and config.backend == "auto" else None
    architecture, convention, backend = network or _in_torch(config, path, n_threads)
    # Fits refuse noise of none.
    is_noisy = config.gain > 0.0 or config.read_noise > 0.0
    noise = Noise(config.gain, config.read_noise) if is_noisy else None
    method = NetworkMethod(backend, architecture, convention, noise)
    if config.polish and method.patch_size >= PATCH_SIZE:
        return Polished(method, noise)
    return method


def _in_numpy(path: Path) -> _Network | None:
    """Return a network of dense layers; None where it is another or wrong, which torch tells."""
    network, convention = read_dense(path), Convention()
    if network is None or not place_known(network, network.architecture, convention)[1] < MOST_PX:
        return None
    return network.architecture, convention, network


def _in_torch(config: PositionsConfig, path: Path, n_threads: int) -> _Network:
    # It takes seconds to import: only those who need it wait for it.
    from workers.place.network.backends.choice import choose_place, make_backend
    from workers.place.network.checkpoints import load_network

    device = choose_place(config.backend, config.device)
    network, convention = load_network(path)
    backend = make_backend(config.backend, network, convention, device, n_threads)
    return network.architecture, convention, backend
