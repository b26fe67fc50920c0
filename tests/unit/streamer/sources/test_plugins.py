"""Protocols and file formats of other packages."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Frame, Series
from streamer.sources import check_reachable, open_source
from tests.unit.plugins import install_lab


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install_lab(tmp_path / "lab"))
    yield
    sys.modules.pop("lab", None)


def read(uri, **config):
    with contextlib.closing(open_source(uri, SourceConfig(**config))) as source:
        return source.read(100)


def sheet(path, frames, head=b""):
    path.write_bytes(head + np.ones((frames, 48, 64), "<u2").tobytes())
    return path


def test_a_protocol_is_the_name_before_the_slashes():
    events = read("drum://somewhere", protocols={"drum": {"frames": 3}})
    assert [event.frame for event in events if isinstance(event, Frame)] == [0, 1, 2]
    assert len(read("DRUM://somewhere")) == 8
    check_reachable("drum://somewhere", SourceConfig())
    with pytest.raises(UserError, match="nobody drums there"):
        check_reachable("drum://nobody", SourceConfig())


def test_an_unknown_protocol_is_refused_with_those_that_are_known():
    with pytest.raises(UserError) as caught:
        read("drumm://somewhere")
    message = str(caught.value)
    assert "unknown protocol drumm; did you mean drum? known are dectris://host:port" in message
    assert "drum://" in message.partition("known are")[2]


def test_a_file_format_is_the_ending_of_a_name(tmp_path):
    events = read(sheet(tmp_path / "a.Sheet", 2, b"head"), readers={"sheet": {"skip": 4}})
    assert [event.name for event in events if isinstance(event, Series)] == ["a"]
    frames = [event for event in events if isinstance(event, Frame)]
    assert [bytes(frame.data) for frame in frames] == 2 * [np.ones((48, 64), "<u2").tobytes()]


def test_a_folder_of_such_files_is_one_series(tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(3):
        sheet(tmp_path / "many" / f"{number}.sheet", 1)
    (tmp_path / "many" / "notes.words").write_text("not a frame")
    events = read(tmp_path / "many")
    assert [event.frame for event in events if isinstance(event, Frame)] == [0, 1, 2]


def test_a_name_of_ours_stays_ours_whatever_others_say(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 8, 8), np.uint16))
    (tmp_path / "a.npy").rename(tmp_path / "a.h5")
    assert len(read(tmp_path / "a.h5")) == 4
    with pytest.raises(UserError, match=r"of no known format: .*GE, \.sheet and what fabio"):
        read(sheet(tmp_path / "a.words", 1))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"protocols": {"drum": {"frame": 3}}}, "did you mean source.protocols.drum.frames?"),
        ({"protocols": {"dectris": {"a": 3}}}, "unknown configuration key source.protocols"),
        ({"readers": {"shet": {}}}, "unknown file format 'shet'; did you mean sheet?"),
        ({"readers": {"sheet": {"skip": "a"}}}, "source.readers.sheet.skip = 'a' does not fit"),
    ],
)
@pytest.mark.parametrize("uri", ["drum://somewhere", "frames.npy"])
def test_parameters_are_checked_whatever_is_opened(tmp_path, config, message, uri):
    np.save(tmp_path / "frames.npy", np.ones((2, 8, 8), np.uint16))
    with pytest.raises(UserError) as caught:
        read(uri if "://" in uri else str(tmp_path / uri), **config)
    assert message in str(caught.value)
