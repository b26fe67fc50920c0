"""Training repeats exactly, learns, and survives a stop."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from streamer.config import TrainConfig, load_config
from streamer.errors import UserError
from workers.learn import training
from workers.learn.muon import Muon, orthogonalised
from workers.place.network.architecture import ARCHITECTURES, Architecture
from workers.place.network.braggnn import BraggNN
from workers.place.network.checkpoints import load_network, read_file

SMALL = TrainConfig(architecture="compact", patches=128 * 100, batch=128, device="cpu")


@pytest.fixture(autouse=True)
def _few_evaluations(monkeypatch):
    monkeypatch.setattr(training, "CASES", training.CASES[:2])
    monkeypatch.setattr(training, "_EVALUATIONS", 3)
    whole = training.evaluate
    monkeypatch.setattr(
        training, "evaluate", lambda method, cases, n: whole(method, cases, min(n, 500))
    )


def quiet() -> Console:
    return Console(file=io.StringIO())


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {k: v for k, v in read_file(path).items() if isinstance(v, torch.Tensor)}


def assert_same(one: Path, two: Path) -> None:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert len(first) > 0
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def at_step(step: int, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something in the middle of a step, counted from 0; a step folds the network once."""
    calls = itertools.count()
    fold = training.FoldedBraggNN

    def fold_and_act(network):
        if next(calls) == step:
            action()
        return fold(network)

    monkeypatch.setattr(training, "FoldedBraggNN", fold_and_act)


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_training_learns_and_repeats(tmp_path):
    for name in ("one", "two"):
        figures = training.train(SMALL, tmp_path / name / "net.pt", quiet())
    assert_same(tmp_path / "one/net.pt", tmp_path / "two/net.pt")
    card = json.loads((tmp_path / "one/net.json").read_text())
    assert card["recipe"]["patches"] == SMALL.patches
    assert card["history"][-1]["patches"] == SMALL.patches
    first, last = card["history"][0], card["history"][-1]
    assert last["loss"] < 0.9 * first["loss"]
    assert last["ratios"][0] < first["ratios"][0]
    assert last["ratios"][0] < 6.0, "saying that every peak is in the middle gives 11"
    assert [row["ratio"] for row in card["figures"]] == [row.ratio for row in figures]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["net.json", "net.pt"]
    network, _ = load_network(tmp_path / "one/net.pt")
    assert network.architecture == ARCHITECTURES["compact"]


@pytest.mark.parametrize("shape", [(8, 18), (288, 245), (4, 8), (3, 3)])
def test_orthogonalised_matrix_keeps_its_singular_vectors(shape):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(*shape, generator=generator)
    found = orthogonalised(matrix)
    values = torch.linalg.svdvals(found)
    assert 0.3 < values.min() < values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    core = u.T @ found @ v.T
    torch.testing.assert_close(core, core.diagonal().diag(), atol=1e-3, rtol=0)


def test_muon_fits_a_linear_map():
    generator = torch.Generator().manual_seed(0)
    x, truth = torch.randn(200, 6, generator=generator), torch.randn(6, 4, generator=generator)
    weight = torch.zeros(6, 4, requires_grad=True)
    optimiser = Muon([weight], lr=0.2)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.2 * (1.0 - step / 200)
        optimiser.zero_grad()
        (x @ weight - x @ truth).square().mean().backward()
        optimiser.step()
    torch.testing.assert_close(weight.detach(), truth, atol=0.02, rtol=0)


def test_another_seed_gives_other_weights(tmp_path):
    few = SMALL.model_copy(update={"patches": 256})
    training.train(few, tmp_path / "one.pt", quiet())
    training.train(few.model_copy(update={"seed": 2}), tmp_path / "two.pt", quiet())
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "one.pt", tmp_path / "two.pt")


def test_resumed_training_gives_the_same_weights(tmp_path, monkeypatch):
    """Published architecture: its layout in memory must survive the stop too."""
    config = TrainConfig(architecture="published", patches=32 * 12, batch=32, device="cpu")
    training.train(config, tmp_path / "whole.pt", quiet())
    with monkeypatch.context() as patch:
        at_step(5, press_ctrl_c, patch)
        with pytest.raises(KeyboardInterrupt):
            training.train(config, tmp_path / "stopped.pt", quiet())
    assert not (tmp_path / "stopped.pt").exists()
    assert read_file(tmp_path / "stopped.pt.resume")["step"] == 6
    training.train(config, tmp_path / "stopped.pt", quiet())
    assert_same(tmp_path / "whole.pt", tmp_path / "stopped.pt")
    assert not (tmp_path / "stopped.pt.resume").exists()


def test_state_is_saved_on_the_way(tmp_path, monkeypatch):
    """What is killed without warning goes on from the last save."""
    monkeypatch.setattr(training, "_SAVE_S", 0.0)
    config = TrainConfig(architecture="compact", patches=16 * 9, batch=16, device="cpu")
    training.train(config, tmp_path / "whole.pt", quiet())

    def fail() -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        at_step(5, fail, patch)
        with pytest.raises(MemoryError):
            training.train(config, tmp_path / "killed.pt", quiet())
    training.train(config, tmp_path / "killed.pt", quiet())
    assert_same(tmp_path / "whole.pt", tmp_path / "killed.pt")


def test_start_from_other_weights(tmp_path):
    """Layers that fit are taken over, and one with fewer inputs answers as it did."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        known = BraggNN(Architecture())
    torch.save(known.state_dict(), tmp_path / "known.pth")
    config = TrainConfig(
        architecture="published",
        patches=16,
        batch=16,
        lr=1e-12,
        start=tmp_path / "known.pth",
        device="cpu",
    )
    training.train(config, tmp_path / "net.pt", quiet())
    network = BraggNN(ARCHITECTURES["published"])
    network.load_state_dict(weights(tmp_path / "net.pt"))
    images = torch.rand(5, 2, 11, 11)
    with torch.inference_mode():
        answers = network(images, torch.randn(5, 3))
        torch.testing.assert_close(
            answers[:, :2], known(images[:, :1], torch.empty(5, 0)), atol=1e-4, rtol=0
        )
    assert json.loads((tmp_path / "net.json").read_text())["recipe"]["start"] == "known.pth"


def test_interrupt_handler_is_put_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    training.train(
        TrainConfig(architecture="compact", patches=32, batch=16, device="cpu"),
        tmp_path / "net.pt",
        quiet(),
    )
    assert signal.getsignal(signal.SIGINT) is before


def test_training_outside_the_main_thread(tmp_path):
    config = TrainConfig(architecture="compact", patches=32, batch=16, device="cpu")
    thread = threading.Thread(target=training.train, args=(config, tmp_path / "net.pt", quiet()))
    thread.start()
    thread.join()
    assert (tmp_path / "net.pt").exists()


def test_resume_with_other_settings_is_refused(tmp_path, monkeypatch):
    config = TrainConfig(architecture="compact", patches=160, batch=16, device="cpu")
    with monkeypatch.context() as patch:
        at_step(2, press_ctrl_c, patch)
        with pytest.raises(KeyboardInterrupt):
            training.train(config, tmp_path / "net.pt", quiet())
    with pytest.raises(UserError, match=r"other settings.*delete"):
        training.train(config.model_copy(update={"lr": 1e-4}), tmp_path / "net.pt", quiet())


@pytest.mark.parametrize("content", [b"", b"not a state"])
def test_damaged_state_is_refused(content, tmp_path):
    (tmp_path / "net.pt.resume").write_bytes(content)
    with pytest.raises(UserError, match="not a checkpoint"):
        training.train(SMALL, tmp_path / "net.pt", quiet())


def test_state_without_content_is_refused(tmp_path):
    recipe = SMALL.model_dump(mode="json", exclude={"device"})
    torch.save({"recipe": recipe}, tmp_path / "net.pt.resume")
    with pytest.raises(UserError, match="no usable state; delete"):
        training.train(SMALL, tmp_path / "net.pt", quiet())


def test_device_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = TrainConfig(device="cuda", patches=16)
    with pytest.raises(UserError, match="cuda"):
        training.train(config, tmp_path / "net.pt", quiet())


def test_configuration_section():
    config = load_config(None, ["train.architecture=published", "train.patches=1000"])
    assert config.train.architecture == "published"
    assert config.train.patches == 1000
    with pytest.raises(UserError, match=r"train\.batch"):
        load_config(None, ["train.batch=0"])
