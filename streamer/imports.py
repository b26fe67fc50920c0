"""What a library would import and this program has no use for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder

__all__ = ["hidden"]


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """Let nobody find a module meanwhile that is not imported already."""
    finder = _Hidden(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Hidden(MetaPathFinder):
    """Lets nobody find a module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        if name == self._name:
            raise ModuleNotFoundError(name)
