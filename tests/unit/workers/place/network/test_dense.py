from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from streamer.config import PositionsConfig
from streamer.errors import UserError
from tests.conftest import ROOT
from workers.place.methods import make_method
from workers.place.network.architecture import ARCHITECTURES, WEIGHTS
from workers.place.network.archive import read_arrays
from workers.place.network.backends.self_check import PlainBackend
from workers.place.network.braggnn import BraggNN
from workers.place.network.checkpoints import load_network, save_network, write_file
from workers.place.network.dense import read_dense
from workers.place.network.sight import cuda_in_sight

OURS = WEIGHTS / "compact.pt"


@pytest.mark.parametrize("n", [0, 1, 255, 256, 700])
def test_the_answers_are_those_of_torch(n):
    rng = np.random.default_rng(n)
    images = rng.random((n, 2, 11, 11), np.float32)
    images[::2, 1] = 0.0  # most patches have no invalid pixel
    scales = rng.normal(0, 3, (n, 3)).astype(np.float32)
    network = read_dense(OURS)
    answers = network(images, scales)
    assert answers.dtype == np.float32
    expected = PlainBackend(load_network(OURS)[0])(images, scales)
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)


def test_files_that_torch_writes_are_read_as_torch_reads_them(tmp_path):
    content = {"n": 3, "words": ("a", None), "w": torch.randn(4, 3), "b": torch.ones(2)}
    write_file(content, tmp_path / "x.pt")
    arrays = read_arrays(tmp_path / "x.pt")
    assert (arrays["n"], arrays["words"]) == (3, ("a", None))
    np.testing.assert_array_equal(arrays["w"], content["w"].numpy())
    np.testing.assert_array_equal(arrays["b"], content["b"].numpy())


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2, 3).T,
        torch.ones(6)[::2],
        torch.ones(2, dtype=torch.float64),
        torch.ones(2, dtype=torch.bfloat16),
        torch.nn.Parameter(torch.ones(2)),
    ],
)
def test_what_else_torch_can_write_is_left_to_torch(tmp_path, value):
    write_file({"w": value}, tmp_path / "x.pt")
    assert read_arrays(tmp_path / "x.pt") is None


class _Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_no_code_of_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.pt", "w") as archive:
        archive.writestr("x/byteorder", "little")
        archive.writestr("x/data.pkl", pickle.dumps({"a": _Evil()}, 2))
    assert read_arrays(tmp_path / "x.pt") is None
    assert not (tmp_path / "evil").exists()


def test_damage_is_left_to_torch(tmp_path):
    whole = OURS.read_bytes()
    path = tmp_path / "x.pt"
    for damaged in (b"", whole[:1000], whole[:-300], b"\0" * 500 + whole[500:], b"x" * 5000):
        path.write_bytes(damaged)
        assert read_dense(path) is None
    assert read_dense(tmp_path / "none.pt") is None


@pytest.mark.parametrize("name", ["published", "compact"])
def test_only_networks_of_dense_layers_are_read(tmp_path, name):
    network = BraggNN(ARCHITECTURES[name])
    save_network(network, tmp_path / "x.pt")
    assert (read_dense(tmp_path / "x.pt") is not None) == (name == "compact")
    content = dict(torch.load(tmp_path / "x.pt", weights_only=True))
    content["more"] = torch.ones(1)
    write_file(content, tmp_path / "x.pt")
    assert read_dense(tmp_path / "x.pt") is None


def test_a_network_that_has_learnt_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("workers.place.network.making.cuda_in_sight", lambda: False)
    network = BraggNN(ARCHITECTURES["compact"])
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    save_network(network, tmp_path / "x.pt")
    with pytest.raises(UserError, match="use other weights"):
        make_method(PositionsConfig(checkpoint=tmp_path / "x.pt"), 1)


@pytest.mark.parametrize("checkpoint", [None, "own.pt"])
def test_who_places_on_a_cpu_does_not_wait_for_torch(tmp_path, checkpoint):
    path = shutil.copy(OURS, tmp_path / checkpoint) if checkpoint else None
    config = f"PositionsConfig(device='cpu', checkpoint={str(path) if path else None!r})"
    code = (
        "import sys, workers.place.methods as m; from streamer.config import PositionsConfig;"
        f"m.make_method({config}, 1); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("False\n", "")


def test_torch_is_asked_where_there_is_a_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert not cuda_in_sight(tmp_path)
    (tmp_path / "nvidia-caps").touch()
    assert not cuda_in_sight(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert cuda_in_sight(tmp_path)
