from __future__ import annotations

import threading

import numpy as np
import pytest

from streamer.config import Config
from streamer.results.folder import RunFolder
from streamer.results.merging import merge_next
from streamer.results.schema import FRAMES, PEAKS
from streamer.sink.checkpoint import EVERY, Checkpoint

STATE = {"a": np.array([(1, [2.0, 3.0])], [("n", "i8"), ("x", "f8", (2,))]), "b": [1 << 41, None]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.results.merging.AT_ONCE", 4)
    made = RunFolder.create(tmp_path / "run")
    for index in range(4):
        made.write_part(
            index, FRAMES.empty_table(), PEAKS.empty_table(), upto=10 * index, next_track=0
        )
    return made


def test_a_state_is_read_as_it_was_written(folder):
    checkpoint = Checkpoint(folder, Config())
    assert checkpoint.read() is None
    checkpoint.write(1, 10, STATE)
    part, state = Checkpoint(folder, Config()).read()
    assert (part, state["b"]) == (1, STATE["b"])
    assert state["a"].dtype == STATE["a"].dtype
    assert state["a"].tobytes() == STATE["a"].tobytes()
    state["a"]["n"] = 5  # what goes on from it can change it


def other_config():
    return Config.model_validate({"tracks": {"reference_frames": 4}})


@pytest.mark.parametrize(
    ("part", "upto", "config", "why"),
    [
        (7, 70, Config, "does not fit the parts"),
        (1, 11, Config, "does not fit the parts"),
        (1, 10, other_config, "another configuration"),
    ],
)
def test_what_does_not_fit_is_not_used(folder, caplog, part, upto, config, why):
    Checkpoint(folder, Config()).write(part, upto, STATE)
    assert Checkpoint(folder, config()).read() is None
    assert why in caplog.text


def test_a_part_in_the_midst_of_a_file_is_none_to_go_on_from(folder):
    checkpoint = Checkpoint(folder, Config())
    checkpoint.write(1, 10, STATE)
    merge_next(folder.path)
    assert checkpoint.read() is None


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 20), slice(0, -1), slice(1, None)])
def test_what_is_damaged_is_not_used(folder, caplog, cut):
    checkpoint = Checkpoint(folder, Config())
    checkpoint.write(1, 10, STATE)
    path = folder.path / "checkpoint.msgpack"
    path.write_bytes(path.read_bytes()[cut])
    assert checkpoint.read() is None
    assert "is damaged" in caplog.text


def test_a_state_is_written_at_times_and_nothing_ends_where_it_cannot_be(folder, caplog):
    checkpoint = Checkpoint(folder, Config())
    assert [n for n in range(200) if checkpoint.is_due(n)] == [EVERY - 1, 2 * EVERY - 1, 191]
    (folder.path / "checkpoint.msgpack").mkdir()
    for _ in range(2):
        checkpoint.write(1, 10, STATE)
    assert caplog.text.count("no checkpoint can be written") == 1
    assert not list(folder.path.glob(".*"))


def test_what_is_written_beside_the_work_is_the_state_at_its_beginning(folder):
    checkpoint = Checkpoint(folder, Config())
    array = np.arange(1000)
    state = {"a": array, "b": [1]}
    checkpoint.begin(1, 10, state)
    state["b"].append(2)
    assert checkpoint.may_change(60.0)
    array += 1
    checkpoint.close()
    _, kept = Checkpoint(folder, Config()).read()
    assert kept["b"] == [1]
    np.testing.assert_array_equal(kept["a"], np.arange(1000))


class Slow(np.ndarray):
    """An array that is not copied before it may be."""

    go: threading.Event

    def copy(self, order="C"):
        assert self.go.wait(60.0)
        return np.array(self)


def slow(go):
    array = np.arange(1000).view(Slow)
    array.go = go
    return array


def test_the_work_goes_on_while_arrays_are_copied(folder, monkeypatch):
    monkeypatch.setattr("streamer.sink.checkpoint._PATIENCE_S", 60.0)
    go = threading.Event()
    checkpoint = Checkpoint(folder, Config())
    assert checkpoint.may_change()
    checkpoint.begin(1, 10, {"a": slow(go)})
    assert not checkpoint.may_change()
    go.set()
    assert checkpoint.may_change(60.0)
    checkpoint.close()
    np.testing.assert_array_equal(Checkpoint(folder, Config()).read()[1]["a"], np.arange(1000))


def test_copies_that_take_too_long_are_given_up_and_more_time_is_given_to_the_next(
    folder, monkeypatch
):
    monkeypatch.setattr("streamer.sink.checkpoint._PATIENCE_S", 1e-9)
    go = threading.Event()
    checkpoint = Checkpoint(folder, Config())
    array = slow(go)
    checkpoint.begin(1, 10, {"a": array})
    assert checkpoint.may_change(1e-3)
    array += 1
    assert not checkpoint.is_due(EVERY - 1)  # it is not over before the copies are
    assert checkpoint._patience_s == 2e-9
    go.set()
    checkpoint._job.result(60.0)
    assert checkpoint.read() is None
    checkpoint.begin(1, 10, {"a": array})
    assert checkpoint._copying.over.wait(60.0)
    assert checkpoint._patience_s == 2e-9
    checkpoint.close()
    np.testing.assert_array_equal(checkpoint.read()[1]["a"], np.arange(1000) + 1)
