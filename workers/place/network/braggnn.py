"""BraggNN: a small network that sees a patch and says where in it the peak stands.

Liu et al., IUCrJ 9 (2022) 104-113, https://doi.org/10.1107/S2052252521011258. Rebuilt so that state
dicts of the published code fit.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.place.network.architecture import Architecture

__all__ = ["BraggNN", "FoldedBraggNN", "initialise"]


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

    What an answer means is not the network's business: see
    `workers.place.network.architecture.Convention`.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        layers: list[nn.Module] = []
        width = architecture.inputs
        for outputs in architecture.channels:
            layers += [nn.Conv2d(width, outputs, 3), nn.LeakyReLU(0.01)]
            width = outputs
        self.cnn_layers = nn.Sequential(*layers)
        self.nlb = (
            _NonLocalBlock(architecture.channels[0], architecture.attention)
            if architecture.attention
            else None
        )
        width *= (architecture.patch_size - 2 * len(architecture.channels)) ** 2
        width += architecture.scales
        branch = architecture.branch
        outputs = 2 if branch else architecture.outputs
        self.dense_layers = _dense(width, architecture.dense, outputs, architecture.gated)
        self.branch_layers = (
            _dense(width, branch, architecture.outputs - 2, architecture.gated) if branch else None
        )

    def forward(self, images: Tensor, scales: Tensor) -> Tensor:
        """Map (n, inputs, size, size) images and (n, scales) numbers to (n, outputs) answers."""
        x = images
        if self.architecture.channels:
            x = self.cnn_layers[0](x)
            if self.nlb is not None:
                x = self.nlb(x)
            x = self.cnn_layers[1:](x)
        return self.answers(x, scales)

    def answers(self, features: Tensor, scales: Tensor) -> Tensor:
        """Apply the dense layers to what the convolutions leave."""
        x = features.flatten(1)
        if self.architecture.scales:
            x = torch.cat([x, scales], dim=1)
        out: Tensor = self.dense_layers(x)
        if self.branch_layers is not None:
            out = torch.cat([out, self.branch_layers(x)], dim=1)
        return out


def _dense(width: int, hidden: tuple[int, ...], outputs: int, gated: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in hidden:
        if gated:
            layers += [nn.Linear(width, 2 * units), nn.GLU(dim=1)]
        else:
            layers += [nn.Linear(width, units), nn.LeakyReLU(0.01)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class FoldedBraggNN:
    """The same function of images in fewer operations.

    The first convolution, the attention's projections and its output layer have nothing
    non-linear between them, so they are linear maps of the 3 x 3 neighbourhood ``p`` of a pixel: 9
    numbers, or 18 with the mask. Hence a score ``query_i . key_j`` is a bilinear form of ``p_i``
    and ``p_j``, in which terms without ``j`` do not change the softmax; and since its weights add
    up to 1, the block's output is a linear map of ``p_i`` and of the attention's mean of all
    ``p_j``. Instead of 64 and 32 channels the attention handles 9 or 18.

    The folding is differentiable, so a network can be trained through it.

    Parameters
    ----------
    network
        The network to fold. Weights are combined in double precision and used in single.
    """

    def __init__(self, network: BraggNN):
        self._network = network
        if network.nlb is not None:
            weight, bias = _matrix(network.cnn_layers[0])
            (query, query_bias), (key, _), (value, value_bias) = (
                _matrix(layer) for layer in network.nlb.layers()
            )
            out, out_bias = _matrix(network.nlb.out_cnn)
            self._query = (weight.T @ query.T @ key @ weight).float()
            self._query_bias = ((query @ bias + query_bias) @ key @ weight).float()
            self._out = torch.cat([weight.T, weight.T @ value.T @ out.T]).float()
            offset = bias + out @ (value @ bias + value_bias) + out_bias
            self._offset = offset.float()

    def __call__(self, images: Tensor, scales: Tensor) -> Tensor:
        """Map images and scales to answers, as `BraggNN` does."""
        network = self._network
        if network.nlb is None:
            answers: Tensor = network(images, scales)
            return answers
        return network.answers(network.cnn_layers[2:](self._attend(images)), scales)

    def _attend(self, images: Tensor) -> Tensor:
        """First convolution, attention, activation: (n, channels, size - 2, size - 2)."""
        inner = images.shape[-1] - 2
        near = images.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5)
        near = near.reshape(len(images), inner * inner, -1)
        query = torch.addmm(self._query_bias, near.flatten(0, 1), self._query).view_as(near)
        heads = near.unsqueeze(1)
        mean = functional.scaled_dot_product_attention(query.unsqueeze(1), heads, heads, scale=1.0)
        both = torch.cat([near, mean.squeeze(1)], dim=-1).flatten(0, 1)
        # Activated before it becomes a view: in place on a view costs copies in the backward pass.
        x = functional.leaky_relu_(torch.addmm(self._offset, both, self._out), 0.01)
        return x.view(-1, inner, inner, x.shape[-1]).permute(0, 3, 1, 2)


@torch.no_grad()
def initialise(network: BraggNN, images: Tensor, scales: Tensor) -> None:
    """Give every layer random weights and outputs of unit variance on given inputs.

    The layers of four and two units let a coordinate pass only where they are positive, so their
    outputs start around 2; from an ordinary start one coordinate is not learnt for a long time.
    After Mishkin and Matas, "All you need is a good init", https://arxiv.org/abs/1511.06422.
    """
    x = images
    for index, module in enumerate(network.cnn_layers):
        x = _initialise_layer(module, x)
        if index == 0 and network.nlb is not None:
            x = network.nlb(x)
    flat = torch.cat([x.flatten(1), scales], dim=1)
    for layers in (network.dense_layers, network.branch_layers):
        x = flat
        for module in layers or ():
            x = _initialise_layer(module, x, last=layers is not None and module is layers[-1])


def _initialise_layer(module: nn.Module, x: Tensor, last: bool = False) -> Tensor:
    """Initialise a layer and return what it makes of `x`."""
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.bias)
        raw = module(x)
        over = [axis for axis in range(raw.dim()) if axis != 1]
        mean, deviation = raw.mean(over), raw.std(over)
        narrow = isinstance(module, nn.Linear) and module.out_features <= 4
        start = 2.0 if narrow and not last else 0.0
        module.weight /= deviation.view(-1, *(1,) * (module.weight.dim() - 1))
        module.bias.copy_(start - mean / deviation)
    out: Tensor = module(x)
    return out


def _matrix(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weights (outputs, inputs) and biases of a convolution, in double precision."""
    if not isinstance(layer, nn.Conv2d) or layer.bias is None:
        raise TypeError(f"{layer} is not a convolution with a bias")
    return layer.weight.flatten(1).double(), layer.bias.double()
