"""Sockets that find each other by name."""

import pytest
import zmq

from streamer.transport.context import run_context
from streamer.transport.directory import Directory
from streamer.transport.keys import RunKeys
from streamer.transport.sockets import bind_hop, connect_hop


@pytest.fixture(params=[False, True])
def context(request, tmp_path):
    """A context whose directory looks each time it is asked, with and without encryption."""
    looks = iter(range(1000))
    directory = Directory(tmp_path / "addresses", clock=lambda: float(next(looks)))
    with run_context(RunKeys.make(curve=request.param), directory=directory, linger_ms=0) as made:
        yield made


def is_connected(mouth):
    """Tell whether somebody has come to hear a socket, which looks about meanwhile."""
    for _ in range(250):
        mouth.context.directory.catch_up()
        if mouth.poll(20, zmq.POLLOUT):
            return True
    return False


def test_who_connects_by_name_follows_a_publisher_that_comes_later_and_moves(context):
    ear = context.socket(zmq.PULL)
    connect_hop(ear, "at://frames")
    context.directory.catch_up()
    for said in (b"first", b"second"):
        mouth = context.socket(zmq.PUSH)
        address = bind_hop(mouth, "at://frames")
        assert context.directory.told() == {"frames": address}
        assert is_connected(mouth)
        mouth.send(said)
        assert ear.poll(5000)
        assert ear.recv() == said
        mouth.close()
    ear.close()


def test_each_follows_its_own_name_and_none_that_is_closed(context):
    gone, ear = context.socket(zmq.PULL), context.socket(zmq.PULL)
    connect_hop(gone, "at://a")
    connect_hop(ear, "at://b")
    gone.close()
    mouths = [context.socket(zmq.PUSH) for _ in "ab"]
    for name, mouth in zip("ab", mouths, strict=True):
        bind_hop(mouth, f"at://{name}")
    assert is_connected(mouths[1])
    assert not mouths[0].poll(0, zmq.POLLOUT)
    for socket in (ear, *mouths):
        socket.close()


def test_a_directory_that_is_gone_leaves_all_as_it_is(context):
    with context.socket(zmq.PULL) as ear:
        connect_hop(ear, "at://frames")
        context.directory.folder.rmdir()
        context.directory.catch_up()


def test_without_a_directory_there_are_no_names():
    with run_context(None, linger_ms=0) as context:
        with context.socket(zmq.SUB) as socket, pytest.raises(ValueError, match="no names"):
            connect_hop(socket, "at://frames")
