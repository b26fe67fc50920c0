from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import zmq

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

# How long an example takes is the machine's affair, and whether it has anything else to do.
hypothesis.settings.register_profile("at any pace", deadline=None)
hypothesis.settings.load_profile("at any pace")


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A ZeroMQ context whose sockets are all gone after the test."""
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made.linger = 0  # also for what a peer that left has not taken
    yield made
    made.destroy(linger=0)


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes addresses of sockets; in-process ones, as short and quick as can be."""
    count = iter(range(1000))
    return lambda: f"inproc://test-{next(count)}"
