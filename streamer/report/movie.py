"""A movie of a run, as MP4 or GIF."""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track as progress

from streamer.errors import UserError
from streamer.report.material import Shot, pixels_of, spread
from streamer.report.movie_frame import Painter
from streamer.results.folder import RunFolder
from streamer.results.pixels import Recorded
from streamer.results.rows import batches

__all__ = ["check_movie", "write_movie"]

_ENDINGS = (".mp4", ".gif")
_MOST = {".mp4": 2000, ".gif": 300}
"""Frames of a movie; a GIF of more is too large to be shown."""
_RATE_HZ = 25

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
