"""How figures look."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["COLOURS", "FAINT", "HALF_CYCLES", "INK", "MARK", "NOTHING", "STYLE", "save_figure"]

INK, FAINT = "#1f2933", "#9aa5b1"
"""Colours of what is to be read and of what holds it."""
MARK, NOTHING = "#37d4c3", "#4a5560"
"""Colours of a mark on an image, and of masked pixels."""
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#a2629b",
    "#c98a00",
    "#3aa0d8",
    "#7a5195",
    "#8c6d46",
)
"""Of lines, told apart with any colour vision (after Okabe and Ito)."""
HALF_CYCLES = {"charge": "#e8a33d", "discharge": "#4f8fc0"}
"""Shades behind lines."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
    "pdf.fonttype": 42,
}
"""For `matplotlib.rc_context`."""

_WHITE = (1.0, 1.0, 1.0, 1.0)
_NAMES = {INK: "ink", FAINT: "faint"} | {one: f"line-{i}" for i, one in enumerate(COLOURS)}
_COLOUR = re.compile("|".join(_NAMES))


def save_figure(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure as PNG and PDF, and return it as SVG for a page.

    In the SVG the colours of `INK`, `FAINT` and `COLOURS` are properties of the page's style sheet
    (``--ink``, ``--faint``, ``--line-0``, ...), and the background is the page's.
    """
    for axes in figure.axes:
        if axes.get_facecolor() == _WHITE:
            axes.set_facecolor("none")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once for all three
    for ending in ("png", "pdf"):
        more: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if ending == "png" else {}
        figure.savefig(folder / f"{name}.{ending}", facecolor="white", **more)
    buffer = BytesIO()
    # Figures of one page must not use each other's clip paths.
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return _COLOUR.sub(lambda found: f"var(--{_NAMES[found[0]]}, {found[0]})", text)
