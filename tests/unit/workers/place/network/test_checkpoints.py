"""The network, its weights and the files it is read from."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from streamer.config import PositionsConfig
from streamer.errors import UserError
from streamer.simulator.patches import PeakRanges
from tests.conftest import SHARED
from workers.compare.evaluation import CASES, Case, Figures, evaluate
from workers.place.base import PositionMethod
from workers.place.methods import make_method
from workers.place.network.architecture import ARCHITECTURES, WEIGHTS, Architecture, Convention
from workers.place.network.backends.eager import TorchBackend
from workers.place.network.braggnn import BraggNN, FoldedBraggNN
from workers.place.network.checkpoints import load_network, read_file, save_network
from workers.place.network.method import NetworkMethod

CHECKPOINTS = SHARED / "data" / "checkpoints"


def published(name: str) -> Path:
    if not (CHECKPOINTS / name).exists():
        pytest.skip(f"needs shared/data/checkpoints/{name} beside the project")
    return CHECKPOINTS / name


def inputs(n: int, architecture: Architecture) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, the mask's channel mostly 0, and scales."""
    generator = torch.Generator().manual_seed(3)
    size = architecture.patch_size
    images = torch.rand(n, architecture.inputs, size, size, generator=generator)
    images[:, 1:] = (images[:, 1:] > 0.9).float()
    return images, torch.randn(n, architecture.scales, generator=generator)


def random_network(architecture: Architecture, seed: int = 0) -> BraggNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BraggNN(architecture).eval()


def test_published_size():
    assert sum(p.numel() for p in BraggNN(Architecture()).parameters()) == 33_172
    assert sum(p.numel() for p in BraggNN(Architecture(patch_size=15)).parameters()) == 40_340


SHAPES = {
    "published": Architecture(),
    "ours": ARCHITECTURES["published"],
    "compact": ARCHITECTURES["compact"],
    "small": Architecture(channels=(8, 8, 8), attention=None, dense=(32, 16)),
    "v1": Architecture(patch_size=15, attention="v1", dense=(32, 16, 8, 4)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_folded_is_the_same_function(name):
    network = random_network(SHAPES[name])
    x = inputs(50, SHAPES[name])
    with torch.inference_mode():
        plain, folded = network(*x), FoldedBraggNN(network)(*x)
    assert plain.shape == (50, SHAPES[name].outputs)
    assert (plain.std(dim=0) > 0).all()
    torch.testing.assert_close(folded, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"patch_size": 10},
        {"patch_size": 5},
        {"channels": ()},
        {"dense": (0,)},
        {"outputs": 1},
        {"scales": -1},
    ],
)
def test_impossible_shape(wrong):
    with pytest.raises(ValueError, match=r"no network|attention needs"):
        Architecture(**wrong)


@pytest.mark.parametrize("name", ["braggnn", "compact"])
def test_backend_agrees_with_the_plain_network(name):
    """To 1e-4 px on trained weights, whose attention is anything but even."""
    network, _ = load_network(WEIGHTS / f"{name}.pt")
    images, scales = inputs(333, network.architecture)
    images[:, 1] = 0.0
    scales /= 2.0
    with torch.inference_mode():
        plain = network(images, scales).numpy()
    backend = TorchBackend(network, torch.device("cpu"), 1, chunk=100)
    answers = backend(images.numpy(), scales.numpy())
    assert np.abs(answers[:, :2] - plain[:, :2]).max() < 1e-4
    np.testing.assert_allclose(answers, plain, atol=1e-2)
    assert backend(images[:0].numpy(), scales[:0].numpy()).shape == (0, 5)


def test_gradients_pass_through_the_folding():
    network = random_network(ARCHITECTURES["published"])
    x = inputs(8, network.architecture)
    network(*x).square().sum().backward()
    plain = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    FoldedBraggNN(network)(*x).square().sum().backward()
    for (name, parameter), expected in zip(network.named_parameters(), plain, strict=True):
        # The key's bias cancels in the softmax: its folded gradient does not exist.
        folded = torch.zeros_like(expected) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(folded, expected, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("name", ["published", "compact"])
def test_file_round_trip(name, tmp_path):
    weights = {"published": "braggnn.pt", "compact": "compact.pt"}[name]
    network, convention = load_network(WEIGHTS / weights)
    assert convention == Convention()
    assert network.architecture == ARCHITECTURES[name]
    save_network(network, tmp_path / "copy.pt")
    again, _ = load_network(tmp_path / "copy.pt")
    for one, two in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert [path.name for path in tmp_path.iterdir()] == ["copy.pt"]


@pytest.mark.parametrize("name", ["braggnn", "compact"])
def test_card_matches_the_weights(name):
    assert (WEIGHTS / f"{name}.pt").stat().st_size < 2**20
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    network, _ = load_network(WEIGHTS / f"{name}.pt")
    assert card["parameters"] == sum(p.numel() for p in network.parameters())
    measured = evaluate(method_of(name), CASES[:2], n=2000, seed=9)
    for row, figures in zip(card["figures"], measured, strict=False):
        assert row["case"] == figures.case
        assert figures.ratio == pytest.approx(row["ratio"], rel=0.05)


def method_of(name: str) -> PositionMethod:
    return make_method(
        PositionsConfig(checkpoint=WEIGHTS / f"{name}.pt", device="cpu", polish=False), 1
    )


@pytest.fixture(scope="module")
def default_figures() -> dict[str, Figures]:
    figures = evaluate(
        make_method(PositionsConfig(device="cpu", polish=False), 1), CASES, n=2500, seed=3
    )
    return {row.case: row for row in figures}


@pytest.mark.parametrize(
    ("case", "ratio"),
    [
        ("SNR 100", 1.05),
        ("SNR 20", 1.05),
        ("SNR 5", 1.05),
        ("SNR 1000", 1.10),
        ("SNR 100, offsets to 1 px", 1.05),
        ("SNR 100, hot pixels", 1.10),
        ("SNR 100, frame edge", 1.15),
        ("bright, widths 0.7 to 3", 1.15),
        ("SNR 100, 1 px from the edge", 1.20),
        ("SNR 100, on the last pixel", 1.15),
    ],
)
def test_default_network_is_near_the_bound(case, ratio, default_figures):
    figures = default_figures[case]
    assert figures.ratio < ratio
    assert max(abs(figures.row_bias), abs(figures.col_bias)) < max(0.01, 0.05 * figures.rmse)
    assert figures.outliers < 0.002
    assert 0.85 < figures.pull < 1.1
    assert figures.poor <= 0.01


def test_second_peaks_are_flagged(default_figures):
    assert default_figures["SNR 100, second peak"].poor >= 0.93


def test_published_architecture_is_near_the_bound():
    figures = evaluate(method_of("braggnn"), CASES[:3], n=2000)
    for row, ratio in zip(figures, (1.10, 1.06, 1.05), strict=True):
        assert row.ratio < ratio
        assert 0.85 < row.pull < 1.15
        assert row.poor <= 0.02


def bright_case(offset: float = 0.5) -> Case:
    """Bright peaks on hardly any background, as the published weights were trained on."""
    ranges = PeakRanges(
        amplitude=(1000.0, 1000.0),
        background=(0.01, 0.01),
        width=(0.7, 2.0),
        offset=offset,
        voigt_share=0.0,
        edge_share=0.0,
        hot_share=0.0,
    )
    return Case("bright", ranges)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "size", "columns_first", "median_px"),
    [
        ("fc16_8_4_2-sz11.pth", 11, True, 0.14),
        ("preprocessbnn_simulated_5e5_sz15.pth", 15, False, 0.06),
    ],
)
def test_published_checkpoints(name, size, columns_first, median_px):
    network, convention = load_network(published(name))
    assert network.architecture == Architecture(patch_size=size)
    assert convention == Convention(
        keep_background=False, columns_first=columns_first, relative=True
    )
    method = make_method(PositionsConfig(checkpoint=published(name), device="cpu", polish=False), 1)
    assert method.patch_size == size
    (figures,) = evaluate(method, [bright_case()], n=1000)
    assert figures.p50 < median_px


def scrambled(network: BraggNN) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].view_as(tensor)
        for name, tensor in network.state_dict().items()
    }


def test_self_test_refuses_scrambled_weights(tmp_path):
    torch.save(scrambled(random_network(Architecture())), tmp_path / "plain.pth")
    network, _ = load_network(WEIGHTS / "braggnn.pt")
    network.load_state_dict(scrambled(network))
    save_network(network, tmp_path / "own.pt")
    for name in ("plain.pth", "own.pt"):
        with pytest.raises(UserError, match="px off on known peaks"):
            load_network(tmp_path / name)


def test_self_test_refuses_a_constant_answer(tmp_path):
    network, _ = load_network(WEIGHTS / "braggnn.pt")
    with torch.no_grad():
        network.dense_layers[-1].weight.zero_()
        network.dense_layers[-1].bias.zero_()
    save_network(network, tmp_path / "constant.pt")
    with pytest.raises(UserError, match="px off on known peaks"):
        load_network(tmp_path / "constant.pt")


def test_self_test_refuses_nan(tmp_path):
    network, _ = load_network(WEIGHTS / "compact.pt")
    with torch.no_grad():
        network.dense_layers[0].weight.fill_(float("nan"))
    save_network(network, tmp_path / "nan.pt")
    with pytest.raises(UserError, match="off on known peaks"):
        load_network(tmp_path / "nan.pt")


def centroid_network() -> BraggNN:
    """A network that answers as published with the centre of mass of an image without background.

    The convolutions only hand the pixels on, by adding four neighbours; the first dense layer adds
    up counts and their moments, and a pair of units for each sum lets both signs pass.
    """
    network = BraggNN(Architecture(channels=(1,), attention=None, dense=(4,)))
    axis = torch.arange(9.0) - 4.0
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.cnn_layers[0].weight[0, 0, 1, 1] = 1.0
        moments = torch.stack([axis.repeat_interleave(9), axis.repeat(9)])
        network.dense_layers[0].weight[:2] = moments
        network.dense_layers[0].weight[2:] = -moments
        # Widths of about 1.35 px: the counts add up to 11 times the highest.
        share = 1.0 / (11.0 * 2.0 * torch.pi * 1.35**2 * 1.01)
        for axis_ in (0, 1):
            network.dense_layers[2].weight[axis_, axis_] = share
            network.dense_layers[2].weight[axis_, axis_ + 2] = -share
        network.dense_layers[2].bias.fill_(5.0 / 11.0)
    return network.eval()


def reordered(network: BraggNN, order: list[int]) -> dict[str, torch.Tensor]:
    """State of the same network, with its coordinates in that order."""
    last = len(network.dense_layers) - 1
    state = dict(network.state_dict())
    for name in ("weight", "bias"):
        state[f"dense_layers.{last}.{name}"] = state[f"dense_layers.{last}.{name}"][order]
    return state


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_order_of_coordinates_is_found(order, tmp_path):
    network = centroid_network()
    torch.save(reordered(network, order), tmp_path / "net.pth")
    loaded, convention = load_network(tmp_path / "net.pth")
    assert loaded.architecture == network.architecture
    assert convention == Convention(
        keep_background=False, columns_first=order == [1, 0], relative=True
    )


def with_attention(network: BraggNN, added: float, variant: str) -> dict[str, torch.Tensor]:
    """State of a network whose attention adds nothing in one variant's code.

    In the other's it adds a multiple of `added` to every pixel.
    """
    # A second channel that is never used, so that attention has one inner channel.
    state = dict(network.state_dict())
    for name in ("cnn_layers.0.weight", "cnn_layers.0.bias"):
        state[name] = torch.cat([state[name], torch.zeros_like(state[name])])
    dense = state["dense_layers.0.weight"]
    state["dense_layers.0.weight"] = torch.cat([dense, torch.zeros_like(dense)], dim=1)
    state["cnn_layers.0.weight"][1, 0, 1, 1] = 1.0
    for layer in ("theta_layer", "phi_layer", "g_layer"):
        state[f"nlb.{layer}.weight"] = torch.ones(1, 2, 1, 1)
        state[f"nlb.{layer}.bias"] = torch.ones(1)
    value = {"head": "g_layer", "v1": "theta_layer"}[variant]
    for name in ("weight", "bias"):
        state[f"nlb.{value}.{name}"].zero_()
    state["nlb.out_cnn.weight"] = torch.full((2, 1, 1, 1), added)
    state["nlb.out_cnn.bias"] = torch.zeros(2)
    return state


@pytest.mark.parametrize("variant", ["head", "v1"])
def test_variant_of_the_attention_is_found(variant, tmp_path):
    """What the other variant adds leaves every pixel negative, and so hardly anything of it."""
    network = centroid_network()
    torch.save(with_attention(network, -30.0, variant), tmp_path / "net.pth")
    loaded, _ = load_network(tmp_path / "net.pth")
    assert loaded.architecture == replace(network.architecture, channels=(2,), attention=variant)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_variants_that_are_the_same_network_are_read_as_head(sign, tmp_path):
    """Moments do not see what is added to all pixels: all that is left is what rounding makes."""
    network = centroid_network()
    with torch.no_grad():
        # As if much was rounded: 4e-4 px between the variants, of which one or the other is better.
        network.dense_layers[0].weight += sign * 1e-6 * torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    torch.save(with_attention(network, 30.0, "v1"), tmp_path / "net.pth")
    loaded, _ = load_network(tmp_path / "net.pth")
    assert loaded.architecture.attention == "head"


@pytest.mark.shared
def test_wrong_variant_is_plainly_wrong():
    """Why the variant has to be found: the state dict fits both, and only one answers."""
    network, convention = load_network(published("fc16_8_4_2-sz11.pth"))
    swapped = BraggNN(replace(network.architecture, attention="v1")).eval()
    swapped.load_state_dict(network.state_dict())
    backend = TorchBackend(swapped, torch.device("cpu"), 1, chunk=64)
    method = NetworkMethod(backend, swapped.architecture, convention)
    (figures,) = evaluate(method, [bright_case()], n=500)
    assert figures.p50 > 1.0


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_network(tmp_path / "nothing.pt")


def bad_files(tmp_path: Path) -> dict[str, bytes]:
    good = (WEIGHTS / "braggnn.pt").read_bytes()
    module, tensor = io.BytesIO(), io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), module)
    torch.save(torch.zeros(3), tensor)
    return {
        "empty": b"",
        "text": b"positions:\n  method: braggnn\n",
        "truncated": good[: len(good) // 2],
        "module": module.getvalue(),
        "tensor": tensor.getvalue(),
        "noise": np.random.default_rng(0).bytes(5000),
    }


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "module", "tensor", "noise"])
def test_file_that_is_no_checkpoint(kind, tmp_path):
    path = tmp_path / "bad.pt"
    path.write_bytes(bad_files(tmp_path)[kind])
    with pytest.raises(UserError, match=r"is not a checkpoint.*") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_directory_is_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_network(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("cnn_layers.0.weight"),
        lambda state: state.pop("dense_layers.8.bias"),
        lambda state: state.update({"extra.weight": torch.zeros(2)}),
        lambda state: state.update({"dense_layers.0.weight": torch.zeros(16, 7)}),
        lambda state: state.update({"cnn_layers.x.weight": torch.zeros(2)}),
        lambda state: state.update({"cnn_layers.2.weight": torch.zeros(())}),
        lambda state: state.clear(),
    ],
)
def test_state_dict_of_something_else(change, tmp_path):
    state = random_network(Architecture()).state_dict()
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match="holds no BraggNN"):
        load_network(tmp_path / "other.pth")


def test_own_file_with_wrong_architecture(tmp_path):
    content = dict(read_file(WEIGHTS / "compact.pt"))
    content["architecture"] = {**content["architecture"], "channels": (8, 8)}
    torch.save(content, tmp_path / "wrong.pt")
    with pytest.raises(UserError, match="holds no BraggNN"):
        load_network(tmp_path / "wrong.pt")
