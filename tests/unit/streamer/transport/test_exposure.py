"""Where a node serves what others of its run are to reach."""

import pytest

from streamer.transport.exposure import served_at


@pytest.mark.parametrize(
    ("address", "served"),
    [
        ("127.0.0.1", "10.0.0.2"),
        ("localhost", "10.0.0.2"),
        ("0.0.0.0", "0.0.0.0"),
        ("tcp://127.0.0.1:*", "tcp://10.0.0.2:*"),
        ("tcp://127.0.0.1:5555", "tcp://10.0.0.2:5555"),
        ("tcp://10.1.0.2:5555", "tcp://10.1.0.2:5555"),
        ("ipc:///tmp/feed", "ipc:///tmp/feed"),
        ("", ""),
    ],
)
def test_what_is_for_this_host_is_for_those_of_the_run_where_there_are_several(address, served):
    assert served_at(address, "") == address
    assert served_at(address, "10.0.0.2") == served
