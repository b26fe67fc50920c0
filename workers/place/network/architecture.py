"""What a network of ours looks like, and what answers of others mean; known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workers.place.network.normalisation import N_SCALES

__all__ = ["ARCHITECTURES", "FORMAT", "WEIGHTS", "Architecture", "Convention", "own_architecture"]

WEIGHTS = Path(__file__).parents[2] / "weights"
"""Folder of the weights that come with the project."""

FORMAT = "braggstream network 2"
"""What a file of a network of ours says of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The shape of a network; the defaults are those published.

    A network of ours sees `workers.place.network.normalisation.Inputs` and answers with five
    numbers: row and column in pixels, natural logarithms of their standard deviations in units of
    `Inputs.guess`, and the logit of the probability that the patch does not hold one clean peak.
    """

    patch_size: int = 11
    """Pixels along each axis of a patch."""
    channels: tuple[int, ...] = (64, 32, 8)
    """Output channels of the 3 x 3 convolutions, none of which pads; may be empty."""
    attention: Literal["head", "v1"] | None = "head"
    """Attention after the first convolution. `head` projects the pixels three times, for query,
    key and value; `v1` is the first release's code, which used the query's projection for all
    three. State dicts of both look the same."""
    dense: tuple[int, ...] = (16, 8, 4, 2)
    """Fully connected layers before the last one."""
    gated: bool = False
    """Dense layers give twice their units, the second half of which, through a sigmoid, says how
    much of the first passes: so responses to shapes can be weighted by width and brightness. False:
    leaky rectifiers."""
    inputs: int = 1
    """Channels of an image: 1 for the pixels alone, 2 for the pixels and which are invalid."""
    scales: int = 0
    """Numbers beside the image, for the dense layers."""
    outputs: int = 2
    """Numbers in an answer; the first two are the position."""
    branch: tuple[int, ...] = ()
    """Fully connected layers of a branch of their own for the outputs beyond the position; empty
    where the last dense layer gives them too."""

    def __post_init__(self) -> None:
        inner = self.patch_size - 2 * len(self.channels)
        numbers = (*self.channels, *self.dense, *self.branch, self.inputs, self.outputs - 1)
        if self.patch_size % 2 == 0 or inner < 1 or min(numbers) < 1 or self.scales < 0:
            raise ValueError("no network has this shape")
        if not self.channels and self.attention:
            raise ValueError("attention needs a convolution before it")


ARCHITECTURES = {
    "published": Architecture(inputs=2, scales=N_SCALES, outputs=5, branch=(16,)),
    "compact": Architecture(
        channels=(),
        attention=None,
        dense=(144, 64, 32),
        gated=True,
        inputs=2,
        scales=N_SCALES,
        outputs=5,
    ),
}
"""The networks that this project trains, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """What a network that sees nothing but an image expects, and what its answers mean.

    `Architecture` says so for networks of ours.
    """

    keep_background: bool = True
    """False when the network was trained on patches without background."""
    columns_first: bool = False
    """True when an answer is (column, row)."""
    relative: bool = False
    """False: an answer is the offset from the middle pixel's centre in pixels. True: it is the
    distance from the first pixel's centre in units of the patch size, as published."""

    def offsets(self, answers: NDArray[np.float32], patch_size: int) -> NDArray[np.float64]:
        """Turn (n, 2) answers into (n, 2) offsets (row, column) from the middle, in pixels."""
        offsets = answers.astype(np.float64)
        if self.relative:
            offsets = offsets * patch_size - patch_size // 2
        return offsets[:, 1::-1] if self.columns_first else offsets[:, :2]


def own_architecture(content: Mapping[str, Any]) -> Architecture:
    """Return what a file of a network of ours says of its shape.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is no such file, or says what no network is.
    """
    if content["format"] != FORMAT:
        raise ValueError("no network of ours")
    fields = dict(content["architecture"])
    for name in ("channels", "dense", "branch"):
        fields[name] = tuple(fields[name])
    return Architecture(**fields)
