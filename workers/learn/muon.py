"""An optimiser that takes steps of equal size in all directions of a weight matrix.

Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalised"]


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonal matrix that is nearest to the mean gradient.

    Ordinary gradients of a layer have few large singular values, so most directions are hardly
    learnt; here all are learnt alike. Our networks need a tenth of the patches so.

    Parameters
    ----------
    parameters
        Weights of two or more dimensions; convolutions count as matrices of (outputs, the rest).
    lr
        Step; scaled so that it means the same as for Adam (a root mean square change of 0.2 `lr`
        per weight), after Liu et al., https://arxiv.org/abs/2502.16982.
    momentum
        Share of the mean gradient that is kept from step to step.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state: dict[str, Any] = self.state[weight]
                if "mean" not in state:
                    state["mean"] = torch.zeros_like(weight)
                mean = state["mean"]
                mean.lerp_(weight.grad, 1.0 - group["momentum"])
                # Nesterov: the mean as it would be after one more gradient like this one.
                ahead = weight.grad.lerp(mean, group["momentum"])
                change = orthogonalised(ahead.flatten(1))
                scale = 0.2 * max(change.shape) ** 0.5
                weight.add_(change.view_as(weight), alpha=-group["lr"] * scale)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return a matrix with the same singular vectors and singular values between 0.7 and 1.2.

    Five steps of a Newton-Schulz iteration whose quintic polynomial makes small singular values
    grow fastest.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-12)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315) @ x
    out: Tensor = x.T if tall else x
    return out
