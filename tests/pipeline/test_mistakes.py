"""A user's mistake is one line that says what to do, exit status 2, and nothing half-written."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest

from tests.pipeline.conftest import launch


def wrong(tmp_path, name):
    """Return the words of a command with a mistake, and what its message must hold."""
    out = ["--out", str(tmp_path / "run")]
    here = tmp_path / "frames.npy"
    np.save(here, np.zeros((3, 32, 32), np.uint16))
    cases = {
        "missing file": (["replay", str(tmp_path / "no.h5"), *out], "no.h5"),
        "missing configuration": (
            ["replay", str(here), *out, "--config", str(tmp_path / "no.yaml")],
            "no.yaml",
        ),
        "unknown key": (
            ["replay", str(here), *out, "--set", "detect.minvall=3"],
            "did you mean detect.minval?",
        ),
        "bad value": (["replay", str(here), *out, "--set", "detect.minval=-1"], "detect.minval"),
        "not key=value": (["replay", str(here), *out, "--set", "detect.minval"], "key.path=value"),
        "bad speed": (["replay", str(here), *out, "--speed", "fast"], "positive number"),
        "no frame time": (["replay", str(here), *out, "--speed", "1"], "source.frame_time_s"),
        "missing mask": (
            ["replay", str(here), *out, "--set", f"detect.mask={tmp_path / 'mask.npy'}"],
            "mask.npy",
        ),
        "unknown protocol": (["attach", "carrier-pigeon://roof:1", *out], "carrier-pigeon"),
        "a file to attach to": (["attach", str(here), *out], "replay"),
        "unreachable detector": (
            ["attach", f"dectris://127.0.0.1:{free_port()}", *out],
            "cannot reach",
        ),
        "no port": (["attach", "dectris://127.0.0.1", *out], "port"),
        "bad checkpoint": (
            ["replay", str(here), *out, "--set", f"positions.checkpoint={here}"],
            "frames.npy",
        ),
        "no such run": (["status", str(tmp_path / "nowhere")], "not a run folder"),
        "recording's name": (["simulate", "--out", str(tmp_path / "x.txt")], "_master.h5"),
    }
    return cases[name]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize(
    "name",
    [
        "missing file", "missing configuration", "unknown key", "bad value", "not key=value",
        "bad speed", "no frame time", "missing mask", "unknown protocol", "a file to attach to",
        "unreachable detector", "no port", "bad checkpoint", "no such run", "recording's name",
    ],
)  # fmt: skip
def test_mistake(tmp_path, name):
    words, message = wrong(tmp_path, name)
    before = sorted(tmp_path.iterdir())
    start = time.monotonic()
    done = (
        launch(*words, "--set", "source.connect_s=1") if "status" not in words else launch(*words)
    )
    assert done.returncode == 2, done.stderr + done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    "content", [b"", b"just a text\n", b"\x89HDF\r\n\x1a\n" + b"rubbish" * 50, b"\x93NUMPY rubbish"]
)
@pytest.mark.parametrize("suffix", [".h5", ".npy", ".npz", ".tif"])
def test_a_file_that_is_not_what_it_says(tmp_path, suffix, content):
    from streamer.config import SourceConfig
    from streamer.errors import UserError
    from streamer.sources import open_source

    path = tmp_path / f"frames{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        open_source(str(path), SourceConfig())
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_folder_that_is_taken_is_left_alone(tmp_path):
    frames = tmp_path / "frames.npy"
    np.save(frames, np.zeros((3, 32, 32), np.uint16))
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    done = launch("replay", str(frames), "--out", str(out))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "words", [["replay"], ["replay", "x.h5"], ["nonsense"], ["train", "--patches", "abc"]]
)
def test_wrong_words_are_one_line(words):
    done = launch(*words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: ")


def test_a_truth_that_cannot_be_written_is_named_before_a_client_is_waited_for(tmp_path):
    (tmp_path / "file").touch()
    done = launch("simulate", "--truth", str(tmp_path / "file" / "truth.parquet"))
    assert done.returncode == 2
    assert "truth.parquet" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_demo_where_none_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    done = launch("demo", "--out", str(tmp_path / "file" / "demo"))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_address_that_cannot_be_bound_leaves_nothing(tmp_path):
    frames, out = tmp_path / "frames.npy", tmp_path / "run"
    np.save(frames, np.zeros((3, 32, 32), np.uint16))
    done = launch(
        "replay",
        str(frames),
        "--out",
        str(out),
        "--set",
        "publish.frames=tcp://nowhere",
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_a_mask_of_another_shape_is_named_and_leaves_nothing(tmp_path):
    frames, mask = tmp_path / "frames.npy", tmp_path / "mask.npy"
    np.save(frames, np.zeros((3, 32, 32), np.uint16))
    np.save(mask, np.zeros((31, 32), bool))
    out = tmp_path / "run"
    done = launch(
        "replay", str(frames), "--out", str(out), "--set", f"detect.mask={mask}",
        "--set", "positions.method=centroid",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "detect.mask has 31 x 32 pixels" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_a_metrics_port_in_use_is_named_and_leaves_nothing(tmp_path):
    frames = tmp_path / "frames.npy"
    np.save(frames, np.zeros((3, 32, 32), np.uint16))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        out = tmp_path / "run"
        done = launch(
            "replay", str(frames), "--out", str(out), "--set", f"metrics.base_port={port}",
            "--set", "positions.method=centroid",
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_a_feed_port_in_use_is_named_and_leaves_nothing(tmp_path):
    frames = tmp_path / "frames.npy"
    np.save(frames, np.zeros((3, 32, 32), np.uint16))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        out = tmp_path / "run"
        done = launch(
            "replay", str(frames), "--out", str(out), "--set", f"publish.peaks={address}",
            "--set", "positions.method=centroid",
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert address in done.stderr
    assert not out.exists()


def test_a_detectors_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = launch("simulate", "--bind", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
