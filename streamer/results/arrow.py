"""Arrow, for who hands it arrays and nothing else."""

from __future__ import annotations

import sys

import pyarrow as pa

from streamer.imports import hidden

__all__ = ["leave_pandas_out"]


def leave_pandas_out() -> None:
    """Have Arrow know no pandas in this process, where that is not imported already.

    It imports it before it makes its first array, to see whether that comes from there, which takes
    a third of a second.
    """
    if "pandas" not in sys.modules:
        with hidden("pandas"):
            pa.array([])
