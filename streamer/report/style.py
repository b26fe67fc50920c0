"""How figures look."""

from __future__ import annotations

from typing import Any

__all__ = ["FAINT", "INK", "STYLE"]

INK, FAINT = "#1f2933", "#9aa5b1"
"""Colours of what is to be read and of what holds it."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
}
"""For `matplotlib.rc_context`."""
