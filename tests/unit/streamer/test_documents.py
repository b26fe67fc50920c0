"""What has the name of a file and is none keeps nobody waiting."""

from __future__ import annotations

import os

import pytest

from streamer.cell.log import open_cell
from streamer.config import CellConfig, SourceConfig, load_config
from streamer.documents import open_regular, read_regular
from streamer.errors import UserError
from streamer.frames.poni import read_poni
from streamer.sources.files.open import open_recording

READERS = {
    "a.csv": lambda path: open_cell(CellConfig(file=str(path))),
    "a.yaml": load_config,
    "a.poni": read_poni,
    "a.npy": lambda path: open_recording(str(path), SourceConfig()),
    "a.h5": lambda path: open_recording(str(path), SourceConfig()),
    "a.dat": lambda path: open_recording(str(path), SourceConfig()),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="a pipe or a device"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_so_is_what_leads_to_itself_or_to_what_has_no_end(tmp_path, name):
    for target in (name, "/dev/zero"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to(target)
        with pytest.raises(UserError):
            READERS[name](tmp_path / name)


def test_a_cell_file_that_becomes_a_pipe_or_a_folder_is_a_trouble_and_no_more(tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text("time,voltage\n1767261602,3.9\n")
    source = open_cell(CellConfig(file=str(path)))
    assert len(source.poll()) == 1
    for make in (os.mkfifo, os.mkdir):
        path.unlink()
        make(path)
        with pytest.raises(OSError, match=r"pipe|directory"):
            source.poll()
    path.rmdir()
    path.write_text("time,voltage\n1767261602,3.9\n1767261603,3.8\n")
    assert source.poll().voltage_v.tolist() == [3.8]


def test_a_text_has_its_lines(tmp_path):
    (tmp_path / "a").write_bytes("µ\r\nb\rc\n".encode())
    assert read_regular(tmp_path / "a") == "µ\nb\nc\n"
    with open_regular(tmp_path / "a") as file:
        assert file.read(2) == "µ".encode()
