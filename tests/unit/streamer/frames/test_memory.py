from __future__ import annotations

import os

import pytest
import zmq

from streamer.frames.memory import COPIED_BYTES, as_part, read_part


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "frames.raw"
    path.write_bytes(bytes(range(256)) * 4)
    number = os.open(path, os.O_RDONLY)
    yield number
    os.close(number)


def test_what_is_read_can_be_sent_as_it_is(file):
    read = read_part(file, 250, 500)

    assert read == (bytes(range(256)) * 4)[250:750]
    assert isinstance(as_part(read), zmq.Frame)


def test_at_the_end_of_a_file_there_is_less_and_nothing_blank(file):
    read = read_part(file, 1000, 500)

    assert read == bytes(range(232, 256))
    assert as_part(read) == read


def test_what_is_large_is_read_too(file):
    assert read_part(file, 1020, COPIED_BYTES + 1) == bytes(range(252, 256))


def test_what_was_received_is_sent_on_without_a_copy():
    received = zmq.Frame(b"coded pixels")

    assert as_part(received.buffer) is received
    assert not isinstance(as_part(received.buffer[2:]), zmq.Frame)  # which is a part of it only
