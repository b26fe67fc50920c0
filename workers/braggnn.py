"""BraggNN: a small network that sees a patch and says where in it the peak stands.

Liu et al., IUCrJ 9 (2022) 104-113, https://doi.org/10.1107/S2052252521011258. Rebuilt so that state
dicts of the published code fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ARCHITECTURES", "Architecture", "BraggNN", "FoldedBraggNN", "initialise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The shape of a network; the defaults are those published."""

    patch_size: int = 11
    """Pixels along each axis of a patch."""
    channels: tuple[int, ...] = (64, 32, 8)
    """Output channels of the 3 x 3 convolutions, none of which pads."""
    attention: Literal["head", "v1"] | None = "head"
    """Attention after the first convolution. `head` projects the pixels three times, for query,
    key and value; `v1` is the first release's code, which used the query's projection for all
    three. State dicts of both look the same."""
    dense: tuple[int, ...] = (16, 8, 4, 2)
    """Fully connected layers before the last one, which has 2 outputs."""

    def __post_init__(self) -> None:
        inner = self.patch_size - 2 * len(self.channels)
        if self.patch_size % 2 == 0 or inner < 1 or min(*self.channels, *self.dense) < 1:
            raise ValueError("no network has this shape")


ARCHITECTURES = {
    "published": Architecture(),
    "compact": Architecture(channels=(8, 8, 8), attention=None, dense=(32, 16)),
}
"""The networks that this project trains, by name."""


class _NonLocalBlock(nn.Module):
    """Attention of every pixel to every pixel, without scaling, added to its input."""

    def __init__(self, channels: int, variant: Literal["head", "v1"]):
        super().__init__()
        inner = channels // 2
        self.theta_layer = nn.Conv2d(channels, inner, 1)
        self.phi_layer = nn.Conv2d(channels, inner, 1)
        self.g_layer = nn.Conv2d(channels, inner, 1)
        self.out_cnn = nn.Conv2d(inner, channels, 1)
        self.variant = variant

    def layers(self) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
        """Projections to query, key and value."""
        if self.variant == "v1":
            return self.theta_layer, self.theta_layer, self.theta_layer
        return self.theta_layer, self.phi_layer, self.g_layer

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in self.layers())
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        mixed = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        out: Tensor = self.out_cnn(mixed) + x
        return out


class BraggNN(nn.Module):
    """The network, layer by layer as published.

    What an answer means is not the network's business: see `workers.checkpoints.Convention`.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        layers: list[nn.Module] = []
        inputs = 1
        for outputs in architecture.channels:
            layers += [nn.Conv2d(inputs, outputs, 3), nn.LeakyReLU(0.01)]
            inputs = outputs
        self.cnn_layers = nn.Sequential(*layers)
        self.nlb = (
            _NonLocalBlock(architecture.channels[0], architecture.attention)
            if architecture.attention
            else None
        )
        inputs *= (architecture.patch_size - 2 * len(architecture.channels)) ** 2
        layers = []
        for outputs in architecture.dense:
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.01)]
            inputs = outputs
        self.dense_layers = nn.Sequential(*layers, nn.Linear(inputs, 2))

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 1, size, size) images to (n, 2) answers."""
        x = self.cnn_layers[0](images)
        if self.nlb is not None:
            x = self.nlb(x)
        out: Tensor = self.dense_layers(self.cnn_layers[1:](x).flatten(1))
        return out


class FoldedBraggNN:
    """The same function of images in fewer operations.

    The first convolution, the attention's projections and its output layer have nothing
    non-linear between them, so they are linear maps of the 3 x 3 neighbourhood ``p`` (9 numbers)
    of a pixel. Hence a score ``query_i . key_j`` is a bilinear form of ``p_i`` and ``p_j``, in
    which terms without ``j`` do not change the softmax; and since its weights add up to 1, the
    block's output is a linear map of ``p_i`` and of the attention's mean of all ``p_j``. Instead
    of 64 and 32 channels the attention handles 9.

    The folding is differentiable, so a network can be trained through it.

    Parameters
    ----------
    network
        The network to fold. Weights are combined in double precision and used in single.
    """

    def __init__(self, network: BraggNN):
        self._network = network
        first = network.cnn_layers[0]
        weight, bias = _matrix(first)
        if network.nlb is not None:
            (query, query_bias), (key, _), (value, value_bias) = (
                _matrix(layer) for layer in network.nlb.layers()
            )
            out, out_bias = _matrix(network.nlb.out_cnn)
            self._query = (weight.T @ query.T @ key @ weight).float()
            self._query_bias = ((query @ bias + query_bias) @ key @ weight).float()
            self._out = torch.cat([weight.T, weight.T @ value.T @ out.T]).float()
            offset = bias + out @ (value @ bias + value_bias) + out_bias
            self._offset = offset.float()

    def __call__(self, images: Tensor) -> Tensor:
        """Map (n, 1, size, size) images to (n, 2) answers, as `BraggNN` does."""
        network = self._network
        x = self._attend(images) if network.nlb is not None else network.cnn_layers[:2](images)
        x = network.cnn_layers[2:](x)
        out: Tensor = network.dense_layers(x.flatten(1))
        return out

    def _attend(self, images: Tensor) -> Tensor:
        """First convolution, attention, activation: (n, channels, size - 2, size - 2)."""
        inner = images.shape[-1] - 2
        near = images.unfold(2, 3, 1).unfold(3, 3, 1).reshape(-1, inner * inner, 9)
        query = torch.addmm(self._query_bias, near.flatten(0, 1), self._query).view_as(near)
        heads = near.unsqueeze(1)
        mean = functional.scaled_dot_product_attention(query.unsqueeze(1), heads, heads, scale=1.0)
        both = torch.cat([near, mean.squeeze(1)], dim=-1).flatten(0, 1)
        # Activated before it becomes a view: in place on a view costs copies in the backward pass.
        x = functional.leaky_relu_(torch.addmm(self._offset, both, self._out), 0.01)
        return x.view(-1, inner, inner, x.shape[-1]).permute(0, 3, 1, 2)


@torch.no_grad()
def initialise(network: BraggNN, images: Tensor) -> None:
    """Give every layer random weights and outputs of unit variance on (n, 1, size, size) images.

    The layers of four and two units let a coordinate pass only where they are positive, so their
    outputs start around 2; from an ordinary start one coordinate is not learnt for a long time.
    After Mishkin and Matas, "All you need is a good init", https://arxiv.org/abs/1511.06422.
    """
    for module in (*network.cnn_layers, *network.dense_layers):
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    x = images
    for module in (*network.cnn_layers, nn.Flatten(), *network.dense_layers):
        x = module(x)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            over = [axis for axis in range(x.dim()) if axis != 1]
            mean, deviation = x.mean(over), x.std(over)
            like = (-1,) + (1,) * (x.dim() - 2)
            narrow = isinstance(module, nn.Linear) and module.out_features <= 4
            start = 2.0 if narrow and module is not network.dense_layers[-1] else 0.0
            module.weight /= deviation.view(-1, *(1,) * (module.weight.dim() - 1))
            module.bias.copy_(start - mean / deviation)
            x = (x - mean.view(like)) / deviation.view(like) + start
        if module is network.cnn_layers[0] and network.nlb is not None:
            x = network.nlb(x)


def _matrix(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weights (outputs, inputs) and biases of a convolution, in double precision."""
    if not isinstance(layer, nn.Conv2d) or layer.bias is None:
        raise TypeError(f"{layer} is not a convolution with a bias")
    return layer.weight.flatten(1).double(), layer.bias.double()
