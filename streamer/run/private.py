"""Files that nobody but their user can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from streamer.config import Config

__all__ = ["private_files"]


@contextmanager
def private_files(config: Config) -> Iterator[None]:
    """Let what this process and those it starts write meanwhile be their user's alone.

    Where the configuration says that it is shared, files are as the user's umask has them.
    """
    before = os.umask(0o077)
    if config.shared:
        os.umask(before)
    try:
        yield
    finally:
        os.umask(before)
