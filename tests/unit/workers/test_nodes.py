"""The workers' roles in this process, with the nodes before and behind them played."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import zmq
from msgspec.structs import replace

from streamer.config import Config
from streamer.errors import UserError
from streamer.frames.events import Frame, Series
from streamer.frames.flags import NEIGHBOUR, POOR_FIT
from streamer.frames.peaks import PEAK, POSITION
from streamer.run.topology import NodeSpec
from streamer.simulator.stream_v2 import encode_bslz4
from streamer.transport.messages import (
    Acks,
    FramePeaks,
    Frames,
    Patches,
    Positions,
    pack,
    unpack,
)
from streamer.transport.metrics import Metrics
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import DETECTORS, FAR_END, GPUS
from streamer.transport.subscriber import Subscriber
from tests.unit.workers.detect.device.coded import coded, reader_on_host
from workers.detect import bright
from workers.detect.bright import BrightReader
from workers.detect.choice import make_finder
from workers.detect.device.reader import DeviceReader
from workers.detect.node import DetectorWorker
from workers.nodes import _role, _settled
from workers.place import node as place_node
from workers.place.base import Positions as Placed
from workers.place.methods import patch_size_of
from workers.place.node import GpuWorker

CONFIG = Config()
SPOTS = [(20, 30), (40, 12), (45, 50)]


class Line:
    """A worker between a publisher and a subscriber, with a sink's acknowledgements."""

    def __init__(self, context, address, pool, behind, make, *, followed=True):
        self.metrics = Metrics()
        self.publisher = Publisher(context, address())
        self.acks = context.socket(zmq.PUB)
        acks_address = address()
        self.acks.bind(acks_address)
        self.worker, out = make(self.publisher.address, acks_address, self.metrics)
        self.subscriber = Subscriber(context, [out] if followed else [], behind, "behind")
        self.pool, self.received = pool, []

    def send(self, header, *buffers, keys=()):
        self.publisher.send(self.pool, Parcel(keys=list(keys), parts=pack(header, *buffers)))

    def run(self, until, seconds=20.0):
        """Let the worker work until a condition is met."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, "it did not come about"
            self.publisher.pump()
            self.worker.step()
            if self.subscriber.socket.poll(5):
                self.received.append(unpack(self.subscriber.receive()))

    def acknowledge(self, upto):
        self.acks.send_multipart(pack(Acks(upto, list(range(upto)), [])))

    @property
    def refused(self):
        return self.worker.report()[1]["refused"]

    def close(self):
        self.worker.close()
        self.publisher.close()
        self.subscriber.close()
        self.acks.close(linger=0)


@pytest.fixture
def detector(context, address):
    """Makes detector workers, each with a line of its own."""
    lines = []

    def make(config=CONFIG, followed=True, **more):
        def worker(frames, acks, metrics):
            out = address()
            finder = make_finder("topology", 40, 60)
            ends = {"frames_address": frames, "patches_address": out, "acks_address": acks}
            more.setdefault("patch_size", 11)
            return DetectorWorker(context, config, metrics, finder, name="d", **ends, **more), out

        lines.append(Line(context, address, DETECTORS, GPUS, worker, followed=followed))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


class Method:
    """Places each peak where its first pixel says, and is unsure of what holds a 7."""

    name, patch_size = "told", 11

    def __init__(self):
        self.batches = []

    def place(self, patches, valid):
        self.batches.append(len(patches))
        row = patches[:, 0, 0].astype(float)
        sigma, unsure = np.full(len(row), 0.1), row == 7.0
        return Placed(row, -row, sigma, sigma, np.where(unsure, POOR_FIT, 0).astype("i4"), unsure)


class Second(Method):
    """Says of all that another peak is beside it."""

    def place(self, patches, valid, others=None):
        self.batches.append(len(patches))
        row, sigma = np.full(len(patches), 0.25), np.full(len(patches), 0.02)
        flags = np.full(len(patches), NEIGHBOUR, "i4")
        return Placed(row, row, sigma, sigma, flags, flags < 0)


@pytest.fixture
def gpu(context, address):
    """Makes GPU workers, each with a line of its own."""
    lines = []

    def make(config=CONFIG, **more):
        more.setdefault("wait_s", 0.02)  # what is sent at once makes one batch

        def worker(patches, acks, metrics):
            out, method = address(), Method()
            ends = {"patches_addresses": [patches], "positions_address": out, "acks_address": acks}
            made = GpuWorker(context, config, metrics, method, name="g", **ends, **more)
            made.method = method
            return made, out

        lines.append(Line(context, address, GPUS, FAR_END, worker))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def a_frame(spots=SPOTS, shape=(64, 64)):
    rows, cols = np.indices(shape)
    counts = np.full(shape, 5.0)
    for row, col in spots:
        counts += 800 * np.exp(-((rows - row) ** 2 + (cols - col) ** 2) / 4.5)
    return counts.astype(np.uint16)


def send_frames(line, pictures, series="s", first=0, encoding="raw"):
    frames = [
        Frame(
            series=series,
            frame=seq,
            time_ns=1000 + seq,
            shape=(64, 64),
            dtype="uint16",
            encoding=encoding,
            data=picture,
            seq=seq,
            received_ns=time.time_ns(),
        )
        for seq, picture in enumerate(pictures, first)
    ]
    line.send(Frames(frames), keys=[frame.seq for frame in frames])


def test_a_detector_worker_finds_peaks_and_cuts_their_patches(detector):
    line = detector()
    line.publisher.announce(DETECTORS, "s", pack(Series(name="s")))
    frame = a_frame()
    send_frames(line, [frame.tobytes(), a_frame([]).tobytes()])
    line.run(lambda: line.received)
    ((header, (peaks, counts, valid)),) = line.received
    peaks = np.frombuffer(peaks, PEAK)
    counts = np.frombuffer(counts, np.float32).reshape(-1, 11, 11)
    assert isinstance(header, Patches)
    assert [(h.seq, h.series, h.time_ns, h.n_peaks) for h in header.frames] == [
        (0, "s", 1000, 3),
        (1, "s", 1001, 0),
    ]
    assert sorted(zip(peaks["row"].tolist(), peaks["col"].tolist(), strict=True)) == SPOTS
    for peak, patch in zip(peaks, counts, strict=True):
        row, col = peak["row"], peak["col"]
        np.testing.assert_array_equal(patch, frame[row - 5 : row + 6, col - 5 : col + 6])
    assert np.frombuffer(valid, np.bool_).all()
    _, stats, info = line.worker.report()
    assert stats["peaks"] == 3
    assert line.metrics.value("braggstream_peaks_total") == 3
    found = json.loads(info["found/s"])
    assert (found["frames"], found["peaks"], found["masked"]) == (2, 3, 0)


def test_a_frame_that_cannot_be_decoded_fails_alone(detector):
    line = detector()
    line.publisher.announce(DETECTORS, "s", pack(Series(name="s")))
    good = a_frame().tobytes()
    send_frames(line, [good, good[:100], good])
    line.run(lambda: line.received)
    header, _ = line.received[0]
    assert [(h.n_peaks, bool(h.reason)) for h in header.frames] == [
        (3, False),
        (0, True),
        (3, False),
    ]
    assert "100" in header.frames[1].reason
    assert line.worker.report()[1]["failed"] == 1
    assert line.metrics.value("braggstream_frames_total", state="failed") == 1


def test_frames_read_for_bright_pixels_have_the_peaks_of_those_decoded(detector, monkeypatch):
    monkeypatch.setattr(bright, "_SHARE", 1)
    line = detector()
    read, kinds = BrightReader(least=0), []

    def noting(*args):
        kinds.append(found := read(*args))
        return found

    line.worker._bright = noting
    line.publisher.announce(DETECTORS, "s", pack(Series(name="s")))
    good = encode_bslz4(a_frame())
    send_frames(line, [good, good, encode_bslz4(a_frame([])), good[:-9]], encoding="bslz4")
    send_frames(line, [good], first=16, encoding="bslz4")
    line.run(lambda: len(line.received) == 2)
    (header, (peaks, counts, _)), (later, _) = line.received
    assert [h.n_peaks for h in (*header.frames, *later.frames)] == [3, 3, 0, 0, 3]
    assert "damaged" in header.frames[3].reason
    halves = np.frombuffer(peaks, PEAK).reshape(2, -1), np.frombuffer(counts, "f4").reshape(2, -1)
    for decoded, known in halves:
        np.testing.assert_array_equal(known, decoded)
    # The first of a series and each sixteenth are looked at as a whole.
    assert [found is not None for found in kinds] == [True, True, False]


def test_a_device_changes_nothing_of_what_a_detector_worker_passes_on_and_tells(detector):
    rng = np.random.default_rng(0)
    pictures = [rng.poisson(a_frame(SPOTS if n % 4 else [])).astype("<u2") for n in range(36)]
    for picture in pictures:
        picture[50:54, 8:12] = 65535
    frames = [replace(coded(picture), series="s", frame=n) for n, picture in enumerate(pictures)]
    frames = [replace(frame, seq=n, time_ns=n) for n, frame in enumerate(frames)]
    frames[5] = replace(frames[5], data=frames[5].data[:500])
    told, taken = [], []
    reader = reader_on_host()

    def device(frame, *args):
        taken.append((frame.frame, reader(frame, *args)))
        return taken[-1][1]

    for more in ({}, {"reader": device}):
        line = detector(**more)
        mask = np.zeros((64, 64), bool)
        mask[45, 48:52] = True
        series = Series(name="s", pixel_mask=mask, saturation=700.0)
        line.publisher.announce(DETECTORS, "s", pack(series))
        line.send(Frames(frames), keys=[frame.seq for frame in frames])
        line.run(lambda line=line: line.received)
        ((header, buffers),) = line.received
        peaks = np.frombuffer(buffers[0], PEAK).tolist()
        patches = [bytes(buffer) for buffer in buffers[1:]]
        told.append((peaks, patches, header, line.worker.report()[2]))
        assert line.metrics.value("braggstream_decode_errors_total") == 1
    assert told[0] == told[1]
    assert len(taken) > 30
    assert [number for number, bright in taken if bright is None] == [5]


def test_frames_of_a_series_that_was_not_announced_fail(detector):
    line = detector()
    send_frames(line, [a_frame().tobytes()], series="t")
    line.run(lambda: line.received)
    assert line.received[0][0].frames[0].reason == "series t was not announced"


def test_a_mask_of_another_detector_ends_the_worker(detector):
    line = detector(mask=np.zeros((64, 32), bool))
    line.publisher.announce(DETECTORS, "s", pack(Series(name="s")))
    send_frames(line, [a_frame().tobytes()])
    with pytest.raises(UserError, match=r"detect\.mask has 64 x 32 pixels, the frames of series s"):
        line.run(lambda: line.received)


def test_frames_of_a_later_series_that_the_mask_does_not_fit_fail(detector):
    line = detector(mask=np.zeros((64, 32), bool))
    line.publisher.announce(DETECTORS, "t", pack(Series(name="t", first_seq=1)))
    send_frames(line, [a_frame().tobytes()], series="t")
    line.run(lambda: line.received)
    assert line.received[0][0].frames[0].reason.startswith("detect.mask has 64 x 32 pixels")


def test_a_detector_worker_takes_no_frames_before_there_is_a_gpu_worker(detector):
    line = detector(followed=False)
    line.publisher.announce(DETECTORS, "s", pack(Series(name="s")))
    for _ in range(50):
        line.publisher.pump()
        line.worker.step()
    assert not line.publisher.members(DETECTORS)
    assert line.worker.report()[0] == "waiting for GPU workers"


def test_a_detector_worker_takes_no_frames_while_gpu_workers_have_patches_enough(
    detector, monkeypatch
):
    monkeypatch.setattr("workers.detect.node._PATCH_BYTES", 1000)  # one frame has more
    line = detector()
    line.publisher.announce(DETECTORS, "s", pack(Series(name="s")))
    for first in range(6):
        send_frames(line, [a_frame().tobytes()], first=first)
    line.run(lambda: line.worker.report()[1]["frames"] == 2)
    for _ in range(50):
        line.publisher.pump()
        line.worker.step()
    assert line.worker.report()[1]["frames"] == 2, "one before the GPU worker, one that waits"
    assert line.worker._subscriber.socket not in line.worker.sockets, "or it would never sleep"
    for n in range(6):  # though nothing is on disk
        line.run(lambda n=n: len(line.received) == n + 1)
        line.acks.send_multipart(pack(Acks(0, [n], [])))
        line.run(lambda n=n: line.worker.report()[1]["frames"] == min(6, n + 3))
    line.run(lambda: line.worker._subscriber.socket in line.worker.sockets)


@pytest.mark.parametrize("kind", ["detector", "gpu"])
def test_what_is_no_message_is_refused_counted_and_told(kind, request, caplog):
    line = request.getfixturevalue(kind)()
    parcels = [[b"nonsense"], pack(Acks(0, [], [])), pack(Patches([], 9), b"", b"", b"")]
    for key, parts in enumerate(parcels):
        line.publisher.send(line.pool, Parcel(keys=[key], parts=parts))
    line.run(lambda: line.refused == 3)
    assert caplog.text.count("message refused") == 3
    assert "no use for Acks" in caplog.text
    assert line.worker.report()[1]["refused"] == 3


def send_patches(line, frames, seq=0, size=11, filling=0.0):
    """Send frames given by their peaks: (row, col, what the first pixel holds, flags)."""
    for number, spots in enumerate(frames, seq):
        peaks = np.zeros(len(spots), PEAK)
        counts = np.full((len(spots), size, size), filling, np.float32)
        for peak, patch, (row, col, told, flags) in zip(peaks, counts, spots, strict=True):
            peak["row"], peak["col"], peak["flags"], patch[0, 0] = row, col, flags, told
        head = FramePeaks(number, "s", number, 1000, time.time_ns(), len(spots))
        buffers = (peaks.view(np.uint8).data, counts.data, np.ones(counts.shape, np.uint8).data)
        line.send(Patches([head], size), *buffers, keys=[number])


def positions(line):
    """Return the frames and the positions of all that came."""
    numbers = [head.seq for header, _ in line.received for head in header.frames]
    tables = [np.frombuffer(buffers[1], POSITION) for _, buffers in line.received]
    return numbers, np.concatenate(tables)


def test_a_gpu_worker_places_peaks_of_several_frames_in_one_batch(gpu):
    line = gpu()
    send_patches(line, [[(100, 50, 0.5, 4)], [], [(30, 70, 0.25, 0), (200, 9, 0.0, 0)]])
    line.run(lambda: line.received)
    numbers, where = positions(line)
    assert isinstance(line.received[0][0], Positions)
    assert numbers == [0, 1, 2]
    assert line.worker.method.batches == [3]
    assert where["row"].tolist() == [100.5, 30.25, 200.0]
    assert where["col"].tolist() == [49.5, 69.75, 9.0]
    assert where["flags"].tolist() == [4, 0, 0]
    stats = line.worker.report()[1]
    assert (stats["frames"], stats["peaks"], stats["batch"]) == (3, 3, 3)
    assert stats["busy_s"] > 0
    assert line.metrics.value("braggstream_peaks_total") == 3


def test_a_full_batch_does_not_wait_and_a_part_of_one_does_not_wait_for_ever(gpu):
    line = gpu(most=2, wait_s=60.0)
    send_patches(line, [[(10, 10, 0, 0)], [(10, 10, 0, 0)], [(10, 10, 0, 0)]])
    line.run(lambda: line.received)
    assert line.worker.method.batches == [2]
    line.run(lambda: not line.worker._batcher.empty)
    line.worker.stop()
    line.run(lambda: len(positions(line)[0]) == 3)
    assert line.worker.method.batches == [2, 1]
    assert not line.worker.finished
    line.acknowledge(3)
    line.run(lambda: line.worker.finished)


def test_the_second_opinion_is_asked_of_what_is_in_doubt(gpu):
    second = Second()
    line = gpu(second=second)
    beside = [(50, 50, 0.5, 0), (50, 58, 0.5, 0)]
    alone, unsure, hot = (90, 90, 0.5, 0), (130, 130, 7.0, 0), (90, 98, 7.0, POOR_FIT)
    send_patches(line, [[*beside, alone, unsure, hot], [(51, 50, 0.5, 0)]])
    line.run(lambda: line.received)
    _, where = positions(line)
    assert second.batches == [3]
    assert where["row"].tolist() == [50.25, 50.25, 90.5, 130.25, 97.0, 51.5]
    assert where["flags"].tolist() == [NEIGHBOUR, NEIGHBOUR, 0, NEIGHBOUR, POOR_FIT, 0]


def test_frames_are_sent_as_soon_as_enough_of_their_peaks_are_placed_anew(gpu, monkeypatch):
    monkeypatch.setattr(place_node, "_FITS_AT_ONCE", 2)
    second, sent_before = Second(), []
    line = gpu(second=second)
    place, send = second.place, line.worker._publisher.send

    def placing(*args):
        sent_before.append(sent[:])
        return place(*args)

    def sending(pool, parcel):
        sent.append(parcel.keys)
        send(pool, parcel)

    sent: list[list[int]] = []
    second.place, line.worker._publisher.send = placing, sending
    clear, unsure = (90, 90, 0.5, 0), (130, 130, 7.0, 0)
    frames = [[clear, unsure], [], [unsure], [clear], [unsure, clear, (9, 9, 7.0, 0)], [clear], []]
    send_patches(line, frames)
    line.run(lambda: len(line.received) == 3)
    numbers, where = positions(line)
    assert line.worker.method.batches == [8]
    assert second.batches == [2, 2]
    assert sent_before == [[], [[0, 1, 2]]]
    assert sent == [[0, 1, 2], [3, 4], [5, 6]]
    assert numbers == list(range(7))
    assert where["row"].tolist() == [90.5, 130.25, 130.25, 90.5, 130.25, 90.5, 9.25, 90.5]


def test_binned_positions_are_in_detector_pixels(gpu):
    line = gpu(Config.model_validate({"detect": {"binning": 2}}))
    send_patches(line, [[(100, 50, 0.5, 0)]])
    line.run(lambda: line.received)
    _, where = positions(line)
    # Binned pixel 50 covers 100 and 101, of which 100.5 is the middle.
    assert (where["row"][0], where["col"][0]) == (101.5, 49.5)
    assert where["row_sigma"][0] == pytest.approx(0.2)


class Middle:
    """Says of each peak that it stands in the middle; wants patches of a size of its own."""

    name = "braggnn"

    def __init__(self, patch_size):
        self.patch_size = patch_size

    def place(self, patches, valid):
        middle, sigma = np.zeros(len(patches)), np.full(len(patches), 0.3)
        flags = np.zeros(len(patches), "i4")
        return Placed(middle, middle, sigma, sigma, flags, flags > 0)


class Both:
    """A detector worker and the GPU worker behind it, as one."""

    def __init__(self, *workers):
        self.workers = workers

    def step(self):
        for worker in self.workers:
            worker.step()

    def report(self):
        refused = sum(worker.report()[1]["refused"] for worker in self.workers)
        return "", {"refused": refused}, {}

    def close(self):
        for worker in self.workers:
            worker.close()


def test_patches_are_cut_as_the_method_wants_them(context, address, tmp_path, monkeypatch):
    """A run's nodes, with a method of 9 x 9 pixels in the place of the project's."""
    monkeypatch.setattr("workers.place.methods.make_method", lambda config, n_threads: Middle(9))
    thresholds = {"minval": 40.0, "minscore": 60.0}
    settings = Config.model_validate({"detect": thresholds, "positions": {"method": "centroid"}})
    size = patch_size_of(settings.positions)

    def make(frames, acks, metrics):
        ends = {"frames": frames, "acks": acks, "patches-0": address(), "positions-0": address()}
        plan = {"source": "", "out": str(tmp_path), "endpoints": ends, "detectors": 1, "gpus": 1}
        nodes = [NodeSpec(name=name, patch_size=size, **plan) for name in ("detector-0", "gpu-0")]
        made = [_role(node, settings, context, metrics)() for node in nodes]
        return Both(*made), ends["positions-0"]

    line = Line(context, address, DETECTORS, FAR_END, make)
    line.publisher.announce(DETECTORS, "s", pack(Series(name="s")))
    send_frames(line, [a_frame().tobytes() for _ in range(5)])
    line.run(lambda: line.received or line.refused)
    line.close()
    assert line.refused == 0
    numbers, where = positions(line)
    assert sorted(numbers) == list(range(5))
    assert sorted(zip(where["row"].tolist(), where["col"].tolist(), strict=True)) == sorted(
        5 * SPOTS
    )


def test_a_detector_worker_that_is_started_again_has_the_mask_that_is_gone(
    context, address, tmp_path
):
    np.save(tmp_path / "mask.npy", np.eye(64, dtype=np.uint8))
    settings = Config.model_validate({"detect": {"mask": tmp_path / "mask.npy"}})
    (out := tmp_path / "run").mkdir()
    for incarnation in range(2):
        ends = {name: address() for name in ("frames", "acks", "patches-0")}
        plan = {"source": "", "out": str(out), "endpoints": ends, "detectors": 1, "gpus": 1}
        node = NodeSpec(name="detector-0", patch_size=11, incarnation=incarnation, **plan)
        _role(node, settings, context, Metrics())().close()
        (tmp_path / "mask.npy").unlink(missing_ok=True)


def test_a_detector_worker_takes_the_device_that_is_its_turn(
    context, address, tmp_path, monkeypatch
):
    made = []

    def make(index):
        made.append(index)
        return reader_on_host()

    monkeypatch.setattr("workers.detect.device.making.make_device_reader", make)
    detect = {"minval": 40.0, "minscore": 60.0, "device": "cuda"}
    settings = Config.model_validate({"detect": detect})
    ends = {name: address() for name in ("frames", "acks", "patches-1")}
    plan = {"source": "", "out": str(tmp_path), "endpoints": ends, "detectors": 2, "gpus": 1}
    node = NodeSpec(name="detector-1", patch_size=9, **plan)
    worker = _role(node, settings, context, Metrics())()
    assert made == [1]
    assert isinstance(worker._bright, DeviceReader)
    worker.close()


@pytest.mark.parametrize("size", [9, 11, 15])
def test_fits_beside_a_network_or_a_warning_why_there_are_none(
    size, context, address, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("workers.place.methods.make_method", lambda config, n_threads: Middle(size))
    settings = Config.model_validate({"positions": {"device": "cpu", "check_share": 1.0}})

    def make(patches, acks, metrics):
        ends = {"acks": acks, "patches-0": patches, "positions-0": address()}
        plan = {"source": "", "out": str(tmp_path), "endpoints": ends, "detectors": 1, "gpus": 1}
        spec = NodeSpec(name="gpu-0", patch_size=size, **plan)
        return _role(spec, settings, context, metrics)(), ends["positions-0"]

    line = Line(context, address, GPUS, FAR_END, make)
    reach = size // 2 + 7
    spots = [(50, 50, 10, 0), (50, 50 + reach, 10, 0), (150, 150, 10, 0), (150, 151 + reach, 10, 0)]
    rows, cols = np.indices((size, size)) - size // 2
    patch = 10.0 + 500.0 * np.exp(-((rows - 0.3) ** 2 + (cols + 0.2) ** 2) / 3.0)
    send_patches(line, [spots], size=size, filling=patch)
    line.run(lambda: line.received)
    _, where = positions(line)
    info = line.worker.report()[2]
    line.close()
    compared = line.metrics.value("braggstream_model_disagreement_pixels_count")
    if size < 11:
        assert where["row"].tolist() == [50, 50, 150, 150]
        assert compared == 0
        assert caplog.text.count("positions.refit and positions.check_share are off") == 1
        assert info["fits"] == "off: patches of 9 x 9 pixels are too small for fits"
    else:
        assert where["row"] == pytest.approx([50.3, 50.3, 150, 150], abs=0.05)
        assert compared == 4
        assert "fits" not in info
        assert "off" not in caplog.text


@pytest.mark.parametrize(("finder", "slow"), [("topology", False), ("findpeaks", True)])
def test_the_ingest_node_is_told_of_a_slow_finder(finder, slow, context, tmp_path, monkeypatch):
    np.save(tmp_path / "frames.npy", np.zeros((2, 32, 32), np.uint16))
    monkeypatch.setattr("streamer.ingest.node.Ingest", lambda *_, **options: options)
    settings = Config.model_validate({"detect": {"finder": finder}, "publish": {"frames": ""}})
    spec = NodeSpec(
        name="ingest",
        source=str(tmp_path / "frames.npy"),
        out=str(tmp_path),
        endpoints={"frames": "", "acks": ""},
        detectors=1,
        gpus=1,
        patch_size=11,
    )
    assert _role(spec, settings, context, Metrics())()["slow"] is slow


def test_what_a_node_is_made_of_is_not_looked_through_for_garbage():
    gc.disable()
    try:
        assert _settled(lambda: "role") == "role"
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.unfreeze()


NOT_NEEDED = "typer rich uvicorn scipy.linalg torch matplotlib pandas h5py"

START = f"""
import sys
import braggstream.node, workers.nodes, workers.kernels
from streamer.config import DetectConfig
workers.nodes._leave_algebra_out()
workers.kernels.compile_finder(DetectConfig(minval=40, minscore=60), 11)
workers.kernels.compile_fit()
needless = [name for name in "{NOT_NEEDED}".split() if name in sys.modules]
assert not needless, needless
"""


def test_a_node_starts_without_what_it_does_not_need():
    subprocess.run([sys.executable, "-c", START], check=True)
