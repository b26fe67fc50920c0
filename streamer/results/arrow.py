"""Arrow, for who hands it arrays and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder

import pyarrow as pa

__all__ = ["leave_pandas_out"]


def leave_pandas_out() -> None:
    """Have Arrow know no pandas in this process, where that is not imported already.

    It imports it before it makes its first array, to see whether that comes from there, which takes
    a third of a second.
    """
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, hidden := _Hidden())
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(hidden)


class _Hidden(MetaPathFinder):
    """Lets nobody find pandas."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
