"""Rendering ahead of whoever takes the frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

from streamer.simulator.scene import Scene
from streamer.simulator.stream_v2 import encode_bslz4

__all__ = ["coded_frames"]

_THREADS = 2
_AHEAD = 64
"""Frames that are ready, or in the making, before they are asked for."""


@contextmanager
def coded_frames(scene: Scene) -> Iterator[Iterator[bytes]]:
    """Render all frames in the background and give them in order, as `encode_bslz4` codes them.

    What has not been rendered when the context is left never will be.
    """

    def code(index: int) -> bytes:
        return encode_bslz4(scene.render(index))

    pool = ThreadPoolExecutor(_THREADS, "render")
    indices = iter(range(scene.n_frames))
    pending = deque(pool.submit(code, index) for index in islice(indices, _AHEAD))

    def frames() -> Iterator[bytes]:
        while pending:
            coded = pending.popleft().result()
            pending.extend(pool.submit(code, index) for index in islice(indices, 1))
            yield coded

    try:
        yield frames()
    finally:
        pool.shutdown(cancel_futures=True)
