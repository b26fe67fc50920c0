"""What a network is trained for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["loss_of"]

_SIGMA_WEIGHT = 0.5
_SPOILT_WEIGHT = 0.4


def loss_of(
    answers: Tensor, guess: Tensor, offsets: Tensor, spoilt: Tensor, measured: Tensor
) -> Tensor:
    """Sum of what n answers cost.

    Errors of positions count in units of a tolerance. Weighted by the smallest possible error
    alone, peaks that cannot be placed well, such as those at an edge, would drown those that can;
    by the network's own standard deviation alone, it could get away with a large one. So the
    tolerance is the quadratic sum of the first and of half the second. Standard deviations are
    learnt by likelihood from errors that they cannot change, where these are known. Spoilt patches
    teach nothing but that they are spoilt.

    Parameters
    ----------
    answers
        (n, 5), see `workers.place.network.architecture.Architecture`.
    guess
        (n, 1) pixels, `workers.place.network.normalisation.Inputs.guess`.
    offsets
        (n, 2) pixels, the truth or what was measured.
    spoilt
        (n,), bool.
    measured
        (n,), bool, see `workers.learn.examples.Examples.measured`.
    """
    clean = (~spoilt).unsqueeze(1).float()
    known = (~spoilt & ~measured).unsqueeze(1).float()
    error, log_sigma = offsets - answers[:, :2], answers[:, 2:4]
    sigma = guess * log_sigma.detach().clamp(-3.0, 5.0).exp()
    tolerance = (guess**2 + (0.5 * sigma).clamp(max=1.0) ** 2).sqrt()
    scaled = error / tolerance
    position = functional.huber_loss(scaled, torch.zeros_like(scaled), reduction="none")
    # Straight beyond 3 standard deviations: a rare mistake must not rule the others' sigma.
    pull = error.detach() / guess * torch.exp(-log_sigma.clamp(-6.0, 6.0))
    likelihood = log_sigma + functional.huber_loss(
        pull, torch.zeros_like(pull), reduction="none", delta=3.0
    )
    spoilt_cost = functional.binary_cross_entropy_with_logits(
        answers[:, 4], spoilt.float(), reduction="sum"
    )
    return (
        0.5 * (clean * position).sum()
        + _SIGMA_WEIGHT * (known * likelihood).sum()
        + _SPOILT_WEIGHT * spoilt_cost
    )
