"""Files of network weights: reading them safely, and finding out what they mean."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamer.errors import UserError
from workers.place.network.architecture import FORMAT, Architecture, Convention, own_architecture
from workers.place.network.backends.eager import TorchBackend
from workers.place.network.braggnn import BraggNN
from workers.place.network.known_peaks import MOST_PX, median_distance, place_known

__all__ = ["load_network", "read_file", "save_network", "start_from", "write_file"]

logger = logging.getLogger(__name__)

_SAME_PX = 1e-3
"""Two readings whose positions are nearer to one another than this are one network: a hundred times
what rounding does, a twentieth of how well the best network places a bright peak."""


_PUBLISHED = Convention(keep_background=False, relative=True)


def save_network(network: BraggNN, path: Path) -> None:
    """Write a network of ours to `path`; the file appears when it is complete."""
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    write_file({"format": FORMAT, "architecture": asdict(network.architecture), **state}, path)


def load_network(path: Path) -> tuple[BraggNN, Convention]:
    """Read a network and make sure that it finds peaks.

    Both our own files and plain state dicts of the published code are read. The latter do not say
    which code and which order of coordinates they were trained with, and load into the wrong one
    without complaint; so every combination is tried on patches with known answers. Where several
    are the same network, such as both variants of an attention that adds nothing, it is `head`.

    Raises
    ------
    UserError
        The file is missing, damaged or something else, or the network answers wrongly in every
        way it can be read.
    """
    content = read_file(path)
    own = content.get("format") == FORMAT
    try:
        architecture = own_architecture(content) if own else _infer_architecture(content)
        state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
        _network(architecture, state)  # raises where they do not fit
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError):
        raise UserError(f"{path} holds no BraggNN: its layers have other names or shapes") from None
    readings: list[tuple[Literal["head", "v1"] | None, Convention]]
    if own:
        readings = [(architecture.attention, Convention())]
    else:
        variants: tuple[Literal["head", "v1"] | None, ...] = (
            ("head", "v1") if architecture.attention else (None,)
        )
        readings = [
            (variant, replace(_PUBLISHED, columns_first=columns_first))
            for variant, columns_first in product(variants, (True, False))
        ]
    tested = [
        _Tested.of(_network(replace(architecture, attention=variant), state), convention)
        for variant, convention in readings
    ]
    best = min(tested, key=lambda one: one.error)
    if not best.error < MOST_PX:
        raise UserError(
            f"{path}: the network is {best.error:.2f} px off on known peaks; use other weights"
        )
    same = [one for one in tested if one.same(best)]
    if len(same) > 1:
        logger.info("%s can be read in %d ways, all of them the same network", path, len(same))
    return same[0].network.eval(), same[0].convention


@torch.no_grad()
def start_from(network: BraggNN, path: Path) -> None:
    """Take over the weights of a file; where a layer has more inputs here, these start without.

    Raises
    ------
    UserError
        The file cannot be read, or a layer of it is larger than the network's.
    """
    content = read_file(path)
    for name, parameter in network.named_parameters():
        known = content.get(name)
        if not isinstance(known, Tensor) or known.dim() != parameter.dim():
            continue
        if any(a > b for a, b in zip(known.shape, parameter.shape, strict=True)):
            raise UserError(f"{path}: {name} is larger than in the network to train")
        if known.shape[:1] == parameter.shape[:1]:
            parameter.zero_()
            parameter[tuple(slice(0, length) for length in known.shape)] = known


def _network(architecture: Architecture, state: Mapping[str, Tensor]) -> BraggNN:
    # Without memory until the weights are there: a damaged file may speak of any size.
    with torch.device("meta"):
        network = BraggNN(architecture)
    network.load_state_dict(state, assign=True)
    return network.float()


@dataclass(frozen=True, slots=True)
class _Tested:
    """A network read in one way, and what it says of bright peaks without noise."""

    network: BraggNN
    convention: Convention
    positions: NDArray[np.float64]
    """(n, 2) of row and column, in pixels from the middle."""
    error: float
    """Median distance from the truth in pixels."""

    @classmethod
    def of(cls, network: BraggNN, convention: Convention) -> _Tested:
        backend = TorchBackend(network, torch.device("cpu"), torch.get_num_threads(), chunk=200)
        positions, error = place_known(backend, network.architecture, convention)
        return cls(network, convention, positions, error)

    def same(self, other: _Tested) -> bool:
        return median_distance(self.positions, other.positions) < _SAME_PX


def _infer_architecture(state: Mapping[str, Any]) -> Architecture:
    """Read the architecture off the shapes of a state dict."""

    def weights(prefix: str) -> list[Tensor]:
        names = [name for name in state if name.startswith(prefix) and name.endswith(".weight")]
        return [state[name] for name in sorted(names, key=lambda name: int(name.split(".")[1]))]

    convolutions, dense = weights("cnn_layers."), weights("dense_layers.")
    channels = tuple(layer.shape[0] for layer in convolutions)
    side = math.isqrt(dense[0].shape[1] // channels[-1])
    return Architecture(
        patch_size=side + 2 * len(channels),
        channels=channels,
        attention="head" if "nlb.theta_layer.weight" in state else None,
        dense=tuple(layer.shape[0] for layer in dense[:-1]),
    )


def read_file(path: Path) -> Mapping[str, Any]:
    """Read a dictionary of tensors and plain values; never runs code from the file.

    Raises
    ------
    UserError
        The file is missing, damaged or something else.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, weights_only=True, map_location="cpu")
    except PermissionError:
        raise UserError(f"the checkpoint {path} may not be read") from None
    except Exception:  # torch raises what its parsers meet: half a dozen kinds for a damaged file
        content = None
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path} is not a checkpoint: save a state dict with torch.save")
    return content


def write_file(content: Mapping[str, Any], path: Path) -> None:
    """Write what `read_file` reads; the file appears, or is replaced, when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(content, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
