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
from workers.backends import TorchBackend
from workers.braggnn import ARCHITECTURES, Architecture, BraggNN, FoldedBraggNN
from workers.checkpoints import WEIGHTS, Convention, load_network, read_file, save_network
from workers.evaluation import CASES, Case, evaluate
from workers.peaksim import PeakRanges
from workers.positions import Centroid, NetworkMethod, make_method

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "checkpoints"


def published(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip(f"needs shared/data/checkpoints/{name} beside the project")
    return SHARED / name


def images(n: int, size: int = 11) -> torch.Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(3))


def random_network(architecture: Architecture, seed: int = 0) -> BraggNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BraggNN(architecture).eval()


def test_published_size():
    assert sum(p.numel() for p in BraggNN(Architecture()).parameters()) == 33_172
    assert sum(p.numel() for p in BraggNN(Architecture(patch_size=15)).parameters()) == 40_340


@pytest.mark.parametrize(
    "architecture",
    [
        ARCHITECTURES["published"],
        ARCHITECTURES["compact"],
        Architecture(patch_size=15, attention="v1", dense=(32, 16, 8, 4)),
    ],
    ids=["published", "compact", "v1"],
)
def test_folded_is_the_same_function(architecture):
    network = random_network(architecture)
    x = images(50, architecture.patch_size)
    with torch.inference_mode():
        plain, folded = network(x), FoldedBraggNN(network)(x)
    assert plain.std() > 0
    torch.testing.assert_close(folded, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["braggnn", "compact"])
def test_backend_agrees_with_the_plain_network(name):
    """To 1e-4 px on trained weights, whose attention is anything but even."""
    network, _ = load_network(WEIGHTS / f"{name}.pt")
    x = images(333)
    with torch.inference_mode():
        plain = network(x).numpy()
    backend = TorchBackend(network, torch.device("cpu"), 1, chunk=100)
    assert np.abs(backend(x[:, 0].numpy()) - plain).max() < 1e-4
    assert backend(np.empty((0, 11, 11), np.float32)).shape == (0, 2)


def test_gradients_pass_through_the_folding():
    network = random_network(Architecture())
    x = images(8)
    network(x).square().sum().backward()
    plain = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    FoldedBraggNN(network)(x).square().sum().backward()
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
    method = make_method(
        PositionsConfig(checkpoint=WEIGHTS / f"{name}.pt", device="cpu"), n_threads=1
    )
    measured = evaluate(method, CASES[:2], n=4000, seed=9)
    for row, figures in zip(card["figures"], measured, strict=False):
        assert row["case"] == figures.case
        assert figures.ratio == pytest.approx(row["ratio"], rel=0.04)


def test_our_network_is_near_the_bound():
    method = make_method(PositionsConfig(device="cpu"), 1)
    ours = evaluate(method, CASES[:3], n=8000)
    centroid = evaluate(Centroid(), CASES[:3], n=8000)
    assert ours[0].ratio < 1.14
    assert ours[1].ratio < 1.07
    assert ours[2].ratio < 1.06
    assert ours[0].rmse < 0.94 * centroid[0].rmse
    assert ours[1].rmse < 0.75 * centroid[1].rmse
    for network in ours[:2]:
        assert abs(network.row_bias) < 0.1 * network.rmse
        assert abs(network.col_bias) < 0.1 * network.rmse


def test_masked_pixels_cost_little():
    hot, edge = (case for case in CASES if case.name.endswith(("hot pixels", "frame edge")))
    method = make_method(PositionsConfig(device="cpu"), 1)
    assert evaluate(method, [hot], n=4000)[0].ratio < 1.2
    assert evaluate(method, [edge], n=4000)[0].ratio < evaluate(Centroid(), [edge], n=4000)[0].ratio


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
    method = make_method(PositionsConfig(checkpoint=published(name), device="cpu"), 1)
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
    network, _ = load_network(WEIGHTS / "braggnn.pt")
    torch.save(scrambled(network), tmp_path / "plain.pth")
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


def as_published(network: BraggNN, order: list[int]) -> dict[str, torch.Tensor]:
    """State of the same network, rewritten to answer in patch sizes from the first pixel."""
    last = len(network.dense_layers) - 1
    state = dict(network.state_dict())
    for name, shift in (("weight", 0), ("bias", 5)):
        key = f"dense_layers.{last}.{name}"
        state[key] = (state[key][order] + shift) / 11
    return state


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_order_of_coordinates_is_found(order, tmp_path):
    network, _ = load_network(WEIGHTS / "compact.pt")
    torch.save(as_published(network, order), tmp_path / "net.pth")
    loaded, convention = load_network(tmp_path / "net.pth")
    assert loaded.architecture == network.architecture
    assert convention == Convention(
        keep_background=False, columns_first=order == [1, 0], relative=True
    )


@pytest.mark.parametrize("variant", ["head", "v1"])
def test_variant_of_the_attention_is_found(variant, tmp_path):
    """Attention that adds nothing in one variant's code, and nonsense in the other's."""
    network, _ = load_network(WEIGHTS / "compact.pt")
    state = as_published(network, [0, 1])
    generator = torch.Generator().manual_seed(0)
    for layer in ("theta_layer", "phi_layer", "g_layer"):
        state[f"nlb.{layer}.weight"] = torch.randn(4, 8, 1, 1, generator=generator)
        state[f"nlb.{layer}.bias"] = torch.randn(4, generator=generator)
    # The output layer sees two of the four inner channels, which the value layer leaves empty.
    value = {"head": "g_layer", "v1": "theta_layer"}[variant]
    for name in ("weight", "bias"):
        state[f"nlb.{value}.{name}"][2:] = 0.0
    state["nlb.out_cnn.weight"] = torch.randn(8, 4, 1, 1, generator=generator)
    state["nlb.out_cnn.weight"][:, :2] = 0.0
    state["nlb.out_cnn.bias"] = torch.zeros(8)
    torch.save(state, tmp_path / "net.pth")
    loaded, _ = load_network(tmp_path / "net.pth")
    assert loaded.architecture == replace(network.architecture, attention=variant)


@pytest.mark.shared
def test_wrong_variant_is_plainly_wrong():
    """Why the variant has to be found: the state dict fits both, and only one answers."""
    network, convention = load_network(published("fc16_8_4_2-sz11.pth"))
    swapped = BraggNN(replace(network.architecture, attention="v1")).eval()
    swapped.load_state_dict(network.state_dict())
    backend = TorchBackend(swapped, torch.device("cpu"), 1, chunk=64)
    (figures,) = evaluate(NetworkMethod(backend, convention, 11), [bright_case()], n=500)
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
