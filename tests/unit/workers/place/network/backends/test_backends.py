"""What computes a network's answers: every way gives the same, and none is used that does not."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.config import PositionsConfig
from streamer.errors import UserError
from tests.conftest import ROOT
from workers.place.methods import make_method
from workers.place.network.architecture import ARCHITECTURES, WEIGHTS, Architecture, Convention
from workers.place.network.backends import choice, cuda, pace
from workers.place.network.backends.choice import available, choose_place, make_backend
from workers.place.network.backends.cuda import (
    CudaGraphsBackend,
    CudaProgram,
    arithmetic,
    choose_arithmetic,
)
from workers.place.network.backends.eager import TorchBackend
from workers.place.network.backends.openvino import OpenVinoBackend
from workers.place.network.backends.self_check import PlainBackend, SelfCheck
from workers.place.network.backends.sized import SizedBackend, Split
from workers.place.network.braggnn import BraggNN
from workers.place.network.checkpoints import load_network

CPU = torch.device("cpu")
PUBLISHED = Convention(keep_background=False, relative=True)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def network_of(name: str) -> tuple[BraggNN, Convention | None]:
    if name != "v1":
        return load_network(WEIGHTS / f"{name}.pt")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = Architecture(patch_size=15, attention="v1", dense=(32, 16, 8, 4))
        return BraggNN(shape).eval(), PUBLISHED


def inputs(n: int, shape: Architecture) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    images = rng.random((n, shape.inputs, shape.patch_size, shape.patch_size), np.float32)
    images[:, 1:] = images[:, 1:] > 0.9
    return images, rng.random((n, shape.scales), np.float32)


def make(name: str, network: BraggNN):
    if name == "openvino":
        return OpenVinoBackend(network, 1, sizes=(4, 32, 100))
    return TorchBackend(network, CPU, 1, chunk=100)


@pytest.mark.parametrize("weights", ["compact", "braggnn", "v1"])
@pytest.mark.parametrize("name", ["eager", "openvino"])
def test_backend_gives_the_answers_of_the_plain_network(name, weights):
    network, convention = network_of(weights)
    plain, backend = PlainBackend(network), make(name, network)
    for n in (0, 1, 5, 32, 333):
        x = inputs(n, network.architecture)
        answers = backend(*x)
        assert answers.shape == (n, network.architecture.outputs)
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, plain(*x), atol=2e-4)
        np.testing.assert_array_equal(answers, backend(*x))
    deviation = SelfCheck(network, convention).deviation(backend)
    assert deviation.px < 1e-4
    assert deviation.sigma < 1e-4
    assert deviation.accepted


def test_answers_are_the_callers_own():
    network, _ = network_of("compact")
    for backend in (make("openvino", network), make("eager", network)):
        answers = backend(*inputs(5, network.architecture))
        before = answers.copy()
        backend(*inputs(6, network.architecture))
        np.testing.assert_array_equal(answers, before)


def test_openvino_reports_to_nobody():
    make("openvino", network_of("compact")[0])
    assert sys.modules["openvino_telemetry"] is None


# Batches of any size


def least(n: int, times: dict[int, float]) -> float:
    """The least time for n patches, by trying every first batch."""
    known = [0.0]
    for k in range(1, n + 1):
        known.append(min(t + known[max(k - size, 0)] for size, t in times.items()))
    return known[n]


@settings(max_examples=60)
@given(
    times=st.dictionaries(st.integers(1, 40), st.floats(0.1, 10.0), min_size=1, max_size=5),
    n=st.integers(0, 200),
)
def test_split_takes_the_least_time(times, n):
    sizes = Split(times)(n)
    assert sum(sizes) >= n
    assert sum(sizes[:-1]) < max(n, 1)
    assert set(sizes) <= set(times)
    if n <= max(times):
        assert sum(times[size] for size in sizes) == pytest.approx(least(n, times))


def test_split_examples():
    split = Split({64: 1.0, 256: 2.0, 1024: 9.0})
    assert split(0) == []
    assert split(3) == [64]
    assert split(300) == [256, 64] or split(300) == [64, 256]
    assert split(5000)[:10] == [256] * 10
    # What starts slowly is run once, padded.
    assert Split({64: 1.0, 256: 1.1})(130) == [256]


class SumProgram:
    """Answers with sums of images and of scales; refuses any size but its own."""

    def __init__(self, size: int):
        self.size, self.calls = size, 0
        self.answers = np.empty((size, 2), np.float32)

    def __call__(self, images, scales):
        assert len(images) == len(scales) == self.size
        assert images.flags.c_contiguous
        assert scales.flags.c_contiguous
        self.calls += 1
        self.answers[:, 0] = images.sum(axis=(1, 2, 3))
        self.answers[:, 1] = scales.sum(axis=1)
        return self.answers


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 31, 32, 33, 100, 1000])
def test_sized_backend_serves_batches_of_any_size(n):
    shape = Architecture(inputs=2, scales=3)
    programs = {size: SumProgram(size) for size in (8, 32)}
    backend = SizedBackend(programs, shape, {8: 1.0, 32: 2.0})
    assert backend.chunk == 32
    images, scales = inputs(n, shape)
    for x in ((images, scales), (images[::-1], scales[::-1])):
        answers = backend(*x)
        np.testing.assert_allclose(answers[:, 0], x[0].sum(axis=(1, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(answers[:, 1], x[1].sum(axis=1), rtol=1e-5)
    assert programs[8].calls + programs[32].calls == 2 * len(Split({8: 1.0, 32: 2.0})(n))


def test_sized_backend_measures():
    programs = {size: SumProgram(size) for size in (8, 32)}
    backend = SizedBackend(programs, Architecture())
    assert min(program.calls for program in programs.values()) >= 2
    assert backend.chunk in (8, 32)


class Clock:
    """Time that passes only in `work`."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def work(self, seconds: float):
        def run() -> None:
            self.now += seconds

        return run


def test_measuring_takes_no_longer_than_told(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    work = {64: clock.work(0.01), 128: clock.work(0.015), 256: clock.work(0.1)}
    times = pace.measure(work, clock.perf_counter, seconds=0.5)
    assert clock.now < 0.5 + 0.1
    assert times == pytest.approx({64: 0.01, 128: 0.015, 256: 0.1})
    assert pace.fastest_chunk(times) == 128
    assert pace.measure({1: clock.work(9.0), 2: clock.work(9.0)}, clock.perf_counter) == {1: 9.0}


# The check


class Disturbed:
    """A backend whose answers are off."""

    def __init__(self, network: BraggNN, column: int, by: float):
        self.plain, self.column, self.by = PlainBackend(network), column, by

    def __call__(self, images, scales):
        answers = self.plain(images, scales).copy()
        answers[17, self.column] += self.by
        return answers


@pytest.mark.parametrize(
    ("column", "by", "accepted"),
    [
        (0, 0.002, True),
        (0, 0.004, False),
        (1, -0.004, False),
        (2, 0.005, True),
        (2, 0.02, False),
        (3, -0.02, False),
        (0, float("nan"), False),
        (1, float("inf"), False),
        (3, float("nan"), False),
    ],
)
def test_check_finds_one_wrong_answer(column, by, accepted):
    network, convention = network_of("compact")
    deviation = SelfCheck(network, convention).deviation(Disturbed(network, column, by))
    assert deviation.accepted == accepted


def test_check_knows_the_units_of_published_networks():
    """Their answers are in units of the patch."""
    network, convention = network_of("v1")
    check = SelfCheck(network, convention)
    deviation = check.deviation(Disturbed(network, 0, 0.01))
    assert deviation.px == pytest.approx(0.15, rel=0.01)
    assert deviation.sigma == 0.0
    assert not deviation.accepted


# The choice


def backend_for(name: str, weights: str = "compact", device: torch.device = CPU):
    network, convention = network_of(weights)
    return make_backend(name, network, convention, device, 1)


def test_eager_on_the_cpu_is_the_reference_itself(monkeypatch):
    monkeypatch.setattr(choice, "SelfCheck", None)
    assert isinstance(backend_for("eager"), TorchBackend)


def test_auto_takes_what_is_faster(monkeypatch):
    for faster in (TorchBackend, OpenVinoBackend):
        monkeypatch.setattr(
            choice,
            "measure",
            lambda work, clock, faster=faster: {key: not isinstance(key, faster) for key in work},
        )
        assert isinstance(backend_for("auto"), faster)


def test_a_signal_after_openvino_was_used_is_handled():
    script = """
        import faulthandler, os, signal
        from workers.place.network.backends.openvino import OpenVinoBackend
        from workers.place.network.architecture import WEIGHTS
        from workers.place.network.checkpoints import load_network
        faulthandler.enable()
        network, _ = load_network(WEIGHTS / "compact.pt")
        first, second = (OpenVinoBackend(network, 1, sizes=(4,)) for _ in range(2))
        del first
        del second
        signal.signal(signal.SIGTERM, lambda *_: print("heard"))
        os.kill(os.getpid(), signal.SIGTERM)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (ended.returncode, ended.stdout) == (0, "heard\n"), ended.stderr


def test_auto_does_without_openvino(monkeypatch):
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    assert "openvino" not in available()
    assert isinstance(backend_for("auto"), TorchBackend)


def test_wrong_answers_are_not_used(monkeypatch, caplog):
    network, _ = network_of("compact")
    monkeypatch.setattr(choice, "_build", lambda *_: Disturbed(network, 0, 0.1))
    for name in ("openvino", "auto"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert isinstance(backend_for(name), TorchBackend)
        (record,) = caplog.records
        assert "is off by 0.1 px" in record.getMessage()


@pytest.mark.parametrize("failure", [RuntimeError("no kernel\nimage"), ImportError("libtbb.so")])
def test_what_fails_is_not_used(failure, monkeypatch, caplog):
    def build(*_):
        raise failure

    monkeypatch.setattr(choice, "_build", build)
    with caplog.at_level(logging.WARNING):
        assert isinstance(backend_for("openvino"), TorchBackend)
    assert caplog.records[0].getMessage().endswith(("no kernel", "libtbb.so"))


@pytest.mark.parametrize("name", ["auto", "eager", "cuda-graphs"])
def test_a_broken_cuda_device_leaves_the_cpu(name, monkeypatch, caplog):
    """Neither graphs nor plain torch give answers there: the run goes on all the same."""
    tried = []

    def build(kind, network, device, *_):
        tried.append((kind, device.type))
        return Disturbed(network, 0, 0.1)

    monkeypatch.setattr(choice, "_build", build)
    monkeypatch.setattr(choice, "available", lambda: ["eager", "cuda-graphs"])
    with caplog.at_level(logging.WARNING):
        backend = backend_for(name, device=torch.device("cuda"))
    expected = (
        [("eager", "cuda")] if name == "eager" else [("cuda-graphs", "cuda"), ("eager", "cuda")]
    )
    assert tried == expected
    assert len(caplog.records) == len(expected)
    assert isinstance(backend, TorchBackend)
    assert backend.device == CPU


def test_no_such_package(monkeypatch):
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'braggstream\[openvino\]'"):
        make_method(PositionsConfig(backend="openvino", device="cpu"), 1)


def test_backends_and_devices(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for device in ("auto", "cpu"):
        with pytest.raises(UserError, match="computes on CUDA, not on cpu"):
            choose_place("cuda-graphs", device)
        assert choose_place("openvino", device) == CPU
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(UserError, match="computes on the CPU, not on cuda:1: set positions"):
        choose_place("openvino", "cuda:1")
    assert choose_place("openvino", "auto") == CPU
    assert choose_place("auto", "auto") == choose_place("cuda-graphs", "auto")
    assert choose_place("eager", "cuda:1") == torch.device("cuda:1")


def test_backend_by_name_through_the_configuration():
    rng = np.random.default_rng(0)
    patches, valid = rng.poisson(20.0, (50, 11, 11)).astype(np.float32), np.ones((50, 11, 11), bool)
    patches[:, 4:7, 4:7] += 300.0
    one, other = (
        make_method(PositionsConfig(device="cpu", backend=name), 1).place(patches, valid)
        for name in ("eager", "openvino")
    )
    np.testing.assert_allclose(one.row, other.row, atol=1e-5)
    np.testing.assert_allclose(one.col_sigma, other.col_sigma, rtol=1e-4)


# CUDA graphs, as far as they go without a device


def test_arithmetic_is_the_fastest_that_agrees(monkeypatch, caplog):
    network, convention = network_of("compact")
    check = SelfCheck(network, convention)
    good, bad = PlainBackend(network), Disturbed(network, 0, 0.01)
    backends = {"float16": bad, "tf32": good, "float32": good}

    def times(work):
        return {name: float(rank) for rank, name in enumerate(work)}

    monkeypatch.setattr(cuda, "measure", times)
    with caplog.at_level(logging.INFO):
        assert choose_arithmetic(backends, check) == "tf32"
    assert "float16 is not used: off by 0.01 px" in caplog.text
    assert choose_arithmetic({**backends, "float16": good}, check) == "float16"
    monkeypatch.setattr(cuda, "measure", lambda work: {n: -t for n, t in times(work).items()})
    assert choose_arithmetic(backends, check) == "float32"
    with pytest.raises(RuntimeError, match="agrees with float32"):
        choose_arithmetic({"float16": bad, "float32": bad}, check)


@pytest.mark.parametrize("name", ["tf32", "float32"])
def test_arithmetic_is_put_back(name):
    def state():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = state()
    with arithmetic(name):
        inside = state()
    assert inside == (("high", True) if name == "tf32" else ("highest", False))
    with pytest.raises(ValueError, match="x"), arithmetic(name):
        raise ValueError("x")
    assert state() == before


class FakeCuda:
    """What `CudaProgram` calls of torch, on the CPU: a graph does again what it recorded."""

    float16 = torch.float16
    backends = torch.backends
    inference_mode = staticmethod(torch.inference_mode)
    from_numpy = staticmethod(torch.from_numpy)
    get_float32_matmul_precision = staticmethod(torch.get_float32_matmul_precision)
    set_float32_matmul_precision = staticmethod(torch.set_float32_matmul_precision)

    def __init__(self):
        self.log: list[str] = []
        self.recording: list | None = None
        self.cuda = SimpleNamespace(
            device=lambda device: self.inside(f"device {device}"),
            stream=lambda stream: self.inside("stream"),
            current_stream=lambda: "default",
            Stream=lambda: SimpleNamespace(
                wait_stream=lambda other: self.log.append(f"wait {other}"),
                synchronize=lambda: self.log.append("synchronize"),
            ),
            CUDAGraph=lambda: SimpleNamespace(work=[], replay=None),
            graph=self.graph,
        )

    def zeros(self, length, pin_memory=False, device=None):
        return torch.zeros(length)

    def autocast(self, kind, dtype, enabled, cache_enabled):
        return torch.autocast("cpu", torch.bfloat16, enabled=False)

    @contextmanager
    def inside(self, what):
        self.log.append(what)
        yield
        self.log.append(f"end {what}")

    @contextmanager
    def graph(self, graph, stream):
        self.log.append("capture")
        self.recording = []
        yield
        work, self.recording = self.recording, None

        def replay():
            self.log.append("replay")
            for again in work:
                again()

        graph.replay = replay

    def network(self, images, scales):
        """A network whose answers in a capture are memory that each replay fills."""

        def compute():
            return torch.stack([images.sum((1, 2, 3)), scales.sum(1)], dim=1)

        answers = compute()
        self.log.append("run")
        if self.recording is not None:
            self.recording.append(lambda: answers.copy_(compute()))
        return answers


def test_graphs_are_fed_and_read_in_order(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(cuda, "torch", fake)
    shape = Architecture(inputs=2, scales=3)
    programs = {size: CudaProgram(fake.network, shape, size, "cuda:1", "tf32") for size in (4, 16)}
    # Warm up beside the default stream, wait, then capture; on the program's own device.
    assert fake.log.count("capture") == 2
    once = fake.log[: fake.log.index("capture") + 2]
    assert once[0] == "device cuda:1"
    assert once[1:-2] == ["wait default", "stream", *["run"] * 3, "end stream", "synchronize"]
    assert once[-2:] == ["capture", "run"]
    backend = SizedBackend(programs, shape, {4: 1.0, 16: 2.0})
    for n in (0, 1, 4, 21, 50):
        fake.log.clear()
        images, scales = inputs(n, shape)
        answers = backend(images, scales)
        np.testing.assert_allclose(answers[:, 0], images.sum(axis=(1, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(answers[:, 1], scales.sum(axis=1), rtol=1e-5)
        calls = fake.log.count("replay")
        assert calls == len(Split({4: 1.0, 16: 2.0})(n))
        one = [
            "device cuda:1",
            "stream",
            "replay",
            "synchronize",
            "end stream",
            "end device cuda:1",
        ]
        assert fake.log == one * calls


# CUDA


@needs_cuda
@pytest.mark.parametrize("weights", ["compact", "braggnn", "v1"])
def test_cuda_graphs_agree(weights):
    network, convention = network_of(weights)
    check = SelfCheck(network, convention, n=2000)
    backend = CudaGraphsBackend(network, torch.device("cuda:0"), check, sizes=(64, 512))
    assert check.deviation(backend).px < 0.005
    for n in (0, 1, 64, 700):
        x = inputs(n, network.architecture)
        answers = backend(*x)
        assert answers.shape == (n, network.architecture.outputs)
        np.testing.assert_array_equal(answers, backend(*x))


@needs_cuda
def test_float32_graphs_are_float32():
    network, convention = network_of("braggnn")
    check = SelfCheck(network, convention)
    shape, device = network.architecture, torch.device("cuda:0")
    program = CudaProgram(network.to(device), shape, 512, device, "float32")
    assert check.deviation(SizedBackend({512: program}, shape, {512: 1.0})).px < 1e-4


@needs_cuda
@pytest.mark.parametrize("index", range(max(torch.cuda.device_count(), 1)))
def test_every_cuda_device_is_used(index):
    method = make_method(PositionsConfig(device=f"cuda:{index}"), 1)
    placed = method.place(np.ones((3, 11, 11), np.float32), np.ones((3, 11, 11), np.bool_))
    assert np.isfinite(placed.row).all()


@needs_cuda
def test_auto_on_cuda_is_graphs():
    assert isinstance(backend_for("auto", device=torch.device("cuda:0")), CudaGraphsBackend)


def test_all_networks_of_ours_are_covered():
    assert {network_of(name)[0].architecture for name in ("compact", "braggnn")} == set(
        ARCHITECTURES.values()
    )
