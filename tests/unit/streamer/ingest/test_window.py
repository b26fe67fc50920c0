from __future__ import annotations

import pytest

from streamer.ingest.window import Window
from tests.unit.streamer.ingest.frames import frames


class Sent:
    """What is on its way, by number."""

    def __init__(self):
        self.keys = set()

    @property
    def outstanding(self):
        return len(self.keys)

    def find(self, key):
        return key if key in self.keys else None


@pytest.fixture
def sent():
    return Sent()


def send(window, sent, first, last, data=None):
    for frame in frames(first, last, data=data):
        sent.keys.add(frame.seq)
        window.add(frame)


def test_there_is_room_below_the_number_of_frames(sent):
    window = Window(sent, 10, 1000)
    assert window.room(64) == 1  # of a size that is not known
    send(window, sent, 0, 1)
    assert window.room(64) == 9
    send(window, sent, 1, 9)
    assert (window.has_room, window.room(64), window.n_frames) == (True, 1, 9)
    sent.keys |= set(range(100, 200))  # gaps and ends take hardly any room
    assert window.has_room
    sent.keys |= set(range(200, 1000))
    assert not window.has_room
    sent.keys -= set(range(100, 1000))
    send(window, sent, 9, 10)
    assert not window.has_room
    assert window.room(64) == 1  # who reads nevertheless reads one


def test_there_is_room_below_the_number_of_bytes(sent):
    window = Window(sent, 1000, 100)
    send(window, sent, 0, 5)
    assert window.n_bytes == 40
    assert window.room(64) == 7  # of 8 bytes each
    assert window.room(4) == 4
    send(window, sent, 5, 6, bytes(60))
    assert not window.has_room


def test_a_frame_without_bytes_divides_nothing(sent):
    window = Window(sent, 1000, 100)
    send(window, sent, 0, 1, b"")
    assert window.room(64) == 64


def test_an_empty_window_has_room_for_what_it_can_hold(sent):
    window = Window(sent, 1000, 100)
    send(window, sent, 0, 1, bytes(40))
    sent.keys.clear()
    window.shrink(1)
    assert (window.n_bytes, window.room(64)) == (0, 2)


def test_acknowledged_frames_give_their_room_back(sent):
    window = Window(sent, 10, 1000)
    send(window, sent, 0, 10)
    sent.keys -= set(range(4))
    window.shrink(4)
    assert (window.n_frames, window.n_bytes, window.has_room) == (6, 48, True)


def test_a_frame_that_was_given_up_gives_its_room_back_when_its_turn_comes(sent):
    window = Window(sent, 10, 1000)
    send(window, sent, 0, 4)
    sent.keys.remove(1)
    window.shrink(0)
    assert window.n_bytes == 32  # frame 0 is still on its way
    sent.keys.remove(0)
    window.shrink(0)
    assert window.n_bytes == 16
