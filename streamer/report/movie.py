"""A movie of a run: every frame with its peaks and tracks, frame number, time and voltage."""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.progress import track as progress

from streamer.errors import UserError
from streamer.frames.display import Display, display
from streamer.frames.flags import POOR_FIT
from streamer.report.material import Shot, pixels_of, spread
from streamer.report.style import COLOURS, FAINT, MARK, NOTHING
from streamer.results.folder import RunFolder
from streamer.results.histories import main_tracks
from streamer.results.pixels import Recorded
from streamer.results.rows import batches

__all__ = ["check_movie", "write_movie"]

_ENDINGS = (".mp4", ".gif")
_MOST = {".mp4": 2000, ".gif": 300}
"""Frames of a movie; a GIF of more is too large to be shown."""
_RATE_HZ = 25
_EDGE = 560
"""Smaller images are enlarged to about so many pixels."""
_HEAD, _STRIP = 34, 64
"""Heights in pixels of the line above the image and of the voltage below."""
_TAIL = 40
"""Observations of a track that are drawn behind its peak."""
_BACK, _TEXT = "#0f1418", "#dde4ea"

Write = Callable[[Image.Image], None]


def check_movie(path: Path) -> None:
    """Check that a movie can be written there.

    Raises
    ------
    UserError
        It cannot; the text says what to do.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise UserError(f"--movie {path}: its name must end in {' or '.join(_ENDINGS)}")
    if path.exists():
        raise UserError(f"{path} is there already: choose another --movie, or remove it first")
    if path.suffix.lower() == ".mp4":
        _ffmpeg()


def write_movie(
    folder: RunFolder,
    recorded: Recorded,
    path: Path,
    console: Console,
    most: int | None = None,
) -> int:
    """Write a movie as MP4 or GIF, by its ending; it appears whole.

    Parameters
    ----------
    recorded
        Where the pixels are; without them peaks are drawn on an empty frame.
    console
        Where a progress bar is shown.
    most
        Frames to show at most, evenly spread.

    Returns
    -------
    n_frames
        Frames in the movie.

    Raises
    ------
    UserError
        It cannot be written.
    """
    check_movie(path)
    ending = path.suffix.lower()
    columns = ("series", "frame", "time_ns", "state")
    tables = list(batches(folder, "frames", columns))
    if not tables:
        raise UserError(f"{folder.path} has no frames to make a movie of")
    frames = pa.concat_tables(tables)
    rows = spread(frames, most or _MOST[ending])
    names: list[str] = frames["series"].unique().to_pylist()
    taken = frames.take(rows)
    painter = Painter(folder, frames)
    partial = path.with_name(f".{path.stem}.partial{ending}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _writer(partial) as write, closing(recorded):
            shots = _shots(folder, taken, names)
            for shot in progress(
                shots, "movie", len(rows), console=console, transient=True, show_speed=True
            ):
                pixels, mask = pixels_of(recorded, shot)
                write(painter.paint(shot, pixels, mask))
        partial.rename(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return len(rows)


def _shots(folder: RunFolder, taken: pa.Table, names: list[str]) -> Iterator[Shot]:
    """Yield frames with their peaks, in the order in which they were committed."""
    columns = ("series", "frame", "row", "col", "flags", "track")
    keys = list(zip(taken["series"].to_pylist(), taken["frame"].to_pylist(), strict=True))
    times = dict(zip(keys, taken["time_ns"].to_pylist(), strict=True))
    place = {name: i for i, name in enumerate(names)}
    wanted = np.sort(np.array([(place[name] << 44) + frame for name, frame in keys], np.int64))
    found: dict[int, dict[str, NDArray[Any]]] = {}
    waiting = deque(keys)
    empty = {name: np.empty(0) for name in columns[2:]}

    def key_of(one: tuple[str, int]) -> int:
        return (place[one[0]] << 44) + one[1]

    for table in batches(folder, "peaks", columns, rows=1 << 16):
        series = table["series"].combine_chunks().dictionary_encode()
        number = np.array([place[one] for one in series.dictionary.to_pylist()], np.int64)
        key = (number[series.indices.to_numpy()] << 44) + table["frame"].to_numpy()
        at = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
        here = np.flatnonzero(wanted[at] == key)
        cut = {name: table[name].to_numpy()[here] for name in columns[2:]}
        for one in np.unique(key[here]).tolist():
            mine = key[here] == one
            more = {name: values[mine] for name, values in cut.items()}
            old = found.get(one)
            # A frame's peaks may be in two batches.
            found[one] = (
                more if old is None else {n: np.concatenate([old[n], more[n]]) for n in more}
            )
        while waiting and any(one > key_of(waiting[0]) for one in found):
            yield _shot(waiting.popleft(), times, found, empty, key_of)
    while waiting:
        yield _shot(waiting.popleft(), times, found, empty, key_of)


def _shot(
    one: tuple[str, int],
    times: dict[tuple[str, int], int],
    found: dict[int, dict[str, NDArray[Any]]],
    empty: dict[str, NDArray[Any]],
    key_of: Callable[[tuple[str, int]], int],
) -> Shot:
    return Shot(one[0], one[1], times[one], found.pop(key_of(one), empty))


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
        main = main_tracks(tracks, len(COLOURS)) if tracks.num_rows else tracks
        self._colour = dict(zip(main["track"].to_pylist(), COLOURS, strict=False))
        self._tails: dict[int, deque[tuple[float, float]]] = {}
        self._cell = folder.read_cell()
        times = frames["time_ns"].to_numpy()
        self._begin, self._end = int(times.min()), int(times.max())
        self._levels: Display | None = None
        self._layout: _Layout | None = None
        self._background: Image.Image | None = None
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
        moment = datetime.fromtimestamp(shot.time_ns * 1e-9, UTC)
        seconds = (shot.time_ns - self._begin) * 1e-9
        draw.text((10, 8), f"frame {shot.frame}", fill=_TEXT, font=self._font)
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


@contextmanager
def _writer(path: Path) -> Iterator[Write]:
    if path.suffix == ".gif":
        with _gif(path) as write:
            yield write
    else:
        with _mp4(path) as write:
            yield write


@contextmanager
def _gif(path: Path) -> Iterator[Write]:
    images: list[Image.Image] = []
    palette: list[Image.Image] = []

    def write(image: Image.Image) -> None:
        if not palette:
            palette.append(image.quantize(256))
        images.append(image.quantize(palette=palette[0], dither=Image.Dither.NONE))

    yield write
    images[0].save(path, save_all=True, append_images=images[1:], duration=1000 // _RATE_HZ, loop=0)


@contextmanager
def _mp4(path: Path) -> Iterator[Write]:
    process: list[subprocess.Popen[bytes]] = []

    def write(image: Image.Image) -> None:
        if not process:
            process.append(_encoder(path, image.size))
        stream = process[0].stdin
        if stream is not None:
            try:
                stream.write(image.tobytes())
            except BrokenPipeError:
                raise UserError(f"cannot write {path}: {_complaint(process[0])}") from None

    try:
        yield write
        if process and process[0].stdin is not None:
            process[0].stdin.close()
            if process[0].wait() != 0:
                raise UserError(f"cannot write {path}: {_complaint(process[0])}")
    finally:
        for one in process:
            if one.poll() is None:
                one.kill()
            one.wait()
            for pipe in (one.stdin, one.stderr):
                if pipe is not None and not pipe.closed:
                    _close(pipe)


def _close(pipe: Any) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return


def _complaint(process: subprocess.Popen[bytes]) -> str:
    said = process.stderr.read().decode(errors="replace") if process.stderr else ""
    return (said.strip().splitlines() or ["the encoder died"])[-1]


def _encoder(path: Path, size: tuple[int, int]) -> subprocess.Popen[bytes]:
    words = [
        _ffmpeg(), "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", f"{size[0]}x{size[1]}", "-r", str(_RATE_HZ), "-i", "-", "-an",
        "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-preset", "veryfast",
        "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path),
    ]  # fmt: skip
    return subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def _ffmpeg() -> str:
    """Return the program that encodes MP4: that of the system, or that of the extra ``movie``."""
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UserError(
            "MP4 needs ffmpeg: pip install 'braggstream[movie]', or give a name in .gif"
        ) from None
    return str(imageio_ffmpeg.get_ffmpeg_exe())
