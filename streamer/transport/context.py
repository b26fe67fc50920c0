"""The context of a process that takes part in a run: what its sockets need to know each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from streamer.transport.directory import Directory
from streamer.transport.keys import Pair, RunKeys

__all__ = ["READERS", "RUN", "RunContext", "run_context"]

RUN, READERS = "run", "readers"
"""Who may connect to a socket that binds: the run's own nodes, or those who read what it publishes.
"""


class RunContext(zmq.Context[zmq.Socket[bytes]]):
    """A ZeroMQ context with keys."""

    keys: RunKeys | None = None
    """The run's own."""
    published: Pair | None = None
    """With which the run publishes what others may read."""
    insecure = False
    """Others may read it without a key, from wherever they are."""
    directory: Directory | None = None
    """Where the run's publishers are that have no fixed address."""


class _Known:
    """Whom an authenticator lets in: an interface of pyzmq's."""

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        self._is_known = is_known

    def callback(self, domain: str, key: bytes) -> bool:
        """Tell whether the holder of a key may connect."""
        return self._is_known(key.decode())


@contextmanager
def run_context(
    keys: RunKeys | None,
    *,
    published: Pair | None = None,
    is_reader: Callable[[str], bool] | None = None,
    insecure: bool = False,
    directory: Directory | None = None,
    linger_ms: int | None = None,
) -> Iterator[RunContext]:
    """Yield a context that lets in who is known, for as long as it is needed.

    Parameters
    ----------
    keys, published, insecure, directory
        See `RunContext`.
    is_reader
        Tells whether the holder of a public key may read what is published.
    linger_ms
        How long sockets that are still open may take to send what waits; None: what each says.
    """
    # One core encrypts about 2 GB/s.
    context = RunContext(2 if keys is not None and keys.server is not None else 1)
    context.keys, context.published, context.insecure = keys, published, insecure
    context.directory = directory
    known: dict[str, Any] = {}
    if keys is not None and keys.client is not None:
        known[RUN] = keys.client.public.__eq__
    if published is not None and is_reader is not None:
        known[READERS] = is_reader
    doorman = ThreadAuthenticator(context) if known else None
    try:
        if doorman is not None:
            for domain, is_known in known.items():
                doorman.configure_curve_callback(domain, _Known(is_known))
            doorman.start()
        yield context
    finally:
        if doorman is not None:
            doorman.stop()
        context.destroy(linger_ms)
