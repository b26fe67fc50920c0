"""One frame of a movie of a run: its pixels, peaks and tracks, frame number, time and voltage."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamer.frames.display import Display, display
from streamer.frames.flags import POOR_FIT
from streamer.report.material import Shot
from streamer.report.reflections import main_reflections
from streamer.report.style import COLOURS, FAINT, MARK, NOTHING
from streamer.results.folder import RunFolder

__all__ = ["Painter"]

_EDGE = 560
"""Smaller images are enlarged to about so many pixels."""
_HEAD, _STRIP = 34, 64
"""Heights in pixels of the line above the image and of the voltage below."""
_TAIL = 40
"""Observations of a track that are drawn behind its peak."""
_BACK, _TEXT = "#0f1418", "#dde4ea"


@dataclass(slots=True)
class _Layout:
    shape: tuple[int, int]
    scale: float
    width: int
    height: int


class Painter:
    """Draws frames after one another, all on one scale of counts.

    Parameters
    ----------
    folder, frames
        Run, and its frames.
    """

    def __init__(self, folder: RunFolder, frames: pa.Table) -> None:
        tracks = folder.read_tracks()
        main = dict(zip(main_reflections(tracks, len(COLOURS)), COLOURS, strict=False))
        kin = zip(*(tracks[name].to_pylist() for name in ("track", "reflection")), strict=True)
        self._colour = {track: main[one] for track, one in kin if one in main}
        self._tails: dict[int, deque[tuple[float, float]]] = {}
        self._cell = folder.read_cell()
        times = frames["time_ns"].to_numpy()
        times = times[times != 0]
        self._begin, self._end = (int(times.min()), int(times.max())) if len(times) else (0, 0)
        if not self._begin:
            self._cell = self._cell[:0]
        self._levels: Display | None = None
        self._layout: _Layout | None = None
        self._font = ImageFont.truetype(_font_file(), 14)
        self._small = ImageFont.truetype(_font_file(), 11)
        magma = (255 * mpl.colormaps["magma"](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
        magma[0] = [int(NOTHING[i : i + 2], 16) for i in (1, 3, 5)]
        self._palette = magma

    def paint(
        self, shot: Shot, pixels: NDArray[Any] | str, mask: NDArray[np.bool_] | None
    ) -> Image.Image:
        """Return the picture of a frame; all have the same size."""
        layout = self._laid_out(shot, pixels)
        image = Image.new("RGB", (layout.width, layout.height + _HEAD + self._strip), _BACK)
        if not isinstance(pixels, str):
            image.paste(self._colours(pixels, mask, layout), (0, _HEAD))
        draw = ImageDraw.Draw(image)
        self._draw_tracks(draw, shot, layout)
        self._draw_peaks(draw, shot, layout)
        self._draw_words(draw, shot, layout, pixels if isinstance(pixels, str) else "")
        self._draw_voltage(image, draw, shot, layout)
        return image

    @property
    def _strip(self) -> int:
        return _STRIP if self._cell.num_rows else 0

    def _laid_out(self, shot: Shot, pixels: NDArray[Any] | str) -> _Layout:
        if self._layout is None:
            if isinstance(pixels, str):
                extent = [shot.peaks[name].max(initial=63.0) + 12.0 for name in ("row", "col")]
                shape = (int(extent[0]), int(extent[1]))
            else:
                shape = (int(pixels.shape[0]), int(pixels.shape[1]))
            scale = _EDGE / max(shape)
            # Whole pixels are enlarged or binned alike; codecs want even numbers.
            scale = float(max(1, int(scale))) if scale >= 1 else 1.0 / -(-max(shape) // _EDGE)
            width, height = (2 * max(1, round(length * scale / 2)) for length in shape[::-1])
            self._layout = _Layout(shape, scale, max(width, 360), height)
        return self._layout

    def _colours(
        self, pixels: NDArray[Any], mask: NDArray[np.bool_] | None, layout: _Layout
    ) -> Image.Image:
        shown = display(pixels, mask)
        if self._levels is None:
            self._levels = shown
        image = Image.fromarray(_same_levels(shown, self._levels))
        size = (round(layout.shape[1] * layout.scale), round(layout.shape[0] * layout.scale))
        if image.size != size:
            image = image.resize(size, Image.Resampling.NEAREST)
        image.putpalette(self._palette.tobytes())
        return image.convert("RGB")

    def _at(self, row: float, col: float, layout: _Layout) -> tuple[float, float]:
        return (col + 0.5) * layout.scale, (row + 0.5) * layout.scale + _HEAD

    def _draw_tracks(self, draw: ImageDraw.ImageDraw, shot: Shot, layout: _Layout) -> None:
        peaks = shot.peaks
        for track, row, col in zip(
            peaks["track"].tolist(), peaks["row"].tolist(), peaks["col"].tolist(), strict=True
        ):
            if track not in self._colour:
                continue
            tail = self._tails.setdefault(track, deque(maxlen=_TAIL))
            tail.append((row, col))
            if len(tail) > 1:
                points = [self._at(*one, layout) for one in tail]
                draw.line(points, fill=self._colour[track], width=2)

    def _draw_peaks(self, draw: ImageDraw.ImageDraw, shot: Shot, layout: _Layout) -> None:
        peaks = shot.peaks
        for row, col, flags, track in zip(
            *(peaks[name].tolist() for name in ("row", "col", "flags", "track")), strict=True
        ):
            x, y = self._at(row, col, layout)
            if flags & POOR_FIT:
                for sign in (-3, 3):
                    draw.line([(x - 3, y - sign), (x + 3, y + sign)], fill=FAINT)
                continue
            main = track in self._colour
            reach = 9 if main else 7
            draw.ellipse(
                (x - reach, y - reach, x + reach, y + reach),
                outline=self._colour.get(track, MARK),
                width=2 if main else 1,
            )

    def _draw_words(self, draw: ImageDraw.ImageDraw, shot: Shot, layout: _Layout, why: str) -> None:
        draw.text((10, 8), f"frame {shot.frame}", fill=_TEXT, font=self._font)
        if shot.time_ns:
            moment = datetime.fromtimestamp(shot.time_ns * 1e-9, UTC)
            seconds = (shot.time_ns - self._begin) * 1e-9
            draw.text(
                (layout.width - 10, 10), f"{moment:%Y-%m-%d %H:%M:%S} UTC   +{seconds:,.2f} s",
                fill=FAINT, font=self._small, anchor="ra",
            )  # fmt: skip
        if why:
            draw.text((10, _HEAD + 6), "no pixels", fill=FAINT, font=self._small)

    def _draw_voltage(
        self, image: Image.Image, draw: ImageDraw.ImageDraw, shot: Shot, layout: _Layout
    ) -> None:
        if not self._cell.num_rows:
            return
        times = self._cell["time_ns"].to_numpy()
        volts = self._cell["voltage_v"].to_numpy()
        top, bottom = _HEAD + layout.height + 10, image.height - 10
        left, right = 64, layout.width - 12
        low, high = np.nanmin(volts), np.nanmax(volts)
        span, height = max(1, self._end - self._begin), max(high - low, 1e-9)

        def place(time_ns: Any, volt: Any) -> tuple[Any, Any]:
            x = left + (right - left) * (time_ns - self._begin) / span
            return x, bottom - (bottom - top) * (volt - low) / height

        inside = np.flatnonzero((times >= self._begin) & (times <= self._end) & np.isfinite(volts))
        inside = inside[:: 1 + len(inside) // 1000]
        points = np.stack(place(times[inside], volts[inside]), axis=1)
        if len(points) > 1:
            draw.line([tuple(point) for point in points.tolist()], fill=FAINT, width=1)
        at = int(np.clip(np.searchsorted(times, shot.time_ns, "right") - 1, 0, len(times) - 1))
        x, y = place(shot.time_ns, volts[at])
        draw.line([(x, top), (x, bottom)], fill="#3c4852")
        if np.isfinite(y):
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=MARK)
        draw.text(
            (10, 0.5 * (top + bottom)), f"{volts[at]:.3f} V", fill=_TEXT, font=self._small,
            anchor="lm",
        )  # fmt: skip


def _same_levels(shown: Display, common: Display) -> NDArray[np.uint8]:
    """Return the levels of a display on the scale of another one."""
    level = np.arange(256)
    counts = shown.low + shown.knee * np.expm1(
        np.log1p((shown.high - shown.low) / shown.knee) * (level - 1) / 254
    )
    above = np.clip(counts, common.low, common.high) - common.low
    scale = 254 / np.log1p((common.high - common.low) / common.knee)
    table = np.clip(np.log1p(above / common.knee) * scale + 1.5, 1, 255).astype(np.uint8)
    table[0] = 0
    levels: NDArray[np.uint8] = table[shown.pixels]
    return levels


def _font_file() -> str:
    return str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
