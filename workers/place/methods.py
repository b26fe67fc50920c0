"""Position methods by name."""

from __future__ import annotations

from pydantic import Field, field_validator

from streamer.config import PositionsConfig
from streamer.plugins import Plugins
from workers.place.base import PATCH_SIZE, MethodPlugin, PositionMethod

__all__ = ["METHODS", "make_method", "patch_size_of"]


# What computes is imported where it is made: numba takes long, and not everyone has peaks to place.
class _BraggNN(MethodPlugin):
    is_network = True

    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        from workers.place.network.making import make_network

        return make_network(config, n_threads)

    def known_patch_size(self, config: PositionsConfig) -> int | None:
        return PATCH_SIZE if config.checkpoint is None else None


class _Gaussian(MethodPlugin):
    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        from workers.place.fit.methods import GaussianFit, Noise

        return GaussianFit(Noise(config.gain, config.read_noise))


class _PseudoVoigt(MethodPlugin):
    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        from workers.place.fit.methods import Noise, PseudoVoigtFit

        return PseudoVoigtFit(Noise(config.gain, config.read_noise))


class _Centroid(MethodPlugin):
    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        from workers.place.centroid import Centroid

        return Centroid()


class _Moments(MethodPlugin):
    size: int = Field(default=15, ge=9, le=41)
    """Pixels along each axis of the patches, odd: the spot, its fringes and some background."""

    @field_validator("size")
    @classmethod
    def _is_odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("odd")
        return size

    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        from workers.place.fit.methods import Noise
        from workers.place.moments import Moments

        return Moments(self.size, Noise(config.gain, config.read_noise))

    def known_patch_size(self, config: PositionsConfig) -> int | None:
        return self.size


METHODS = Plugins(
    "position method",
    "positions.methods",
    MethodPlugin,
    {
        "braggnn": _BraggNN,
        "gaussian": _Gaussian,
        "pseudovoigt": _PseudoVoigt,
        "centroid": _Centroid,
        "moments": _Moments,
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
