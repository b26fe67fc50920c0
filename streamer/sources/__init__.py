"""Sources of frames: one module for each protocol or file format."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import h5py

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.sources.base import Source
from streamer.sources.dectris import DectrisSource, reach_dectris
from streamer.sources.hdf5 import open_hdf5
from streamer.sources.pacing import Paced
from streamer.sources.recording import Recording
from streamer.sources.stacks import open_npy, open_npz, open_tiff, open_tiff_files

__all__ = ["check_reachable", "open_source"]

_LIVE = {"dectris": (DectrisSource, reach_dectris)}
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUFFIXES = {
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".nxs": "HDF5",
    ".cxi": "HDF5",
    ".npy": "numpy",
    ".npz": "numpy",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def open_source(uri: str | Path, config: SourceConfig) -> Source:
    """Open a live stream or a recording.

    Parameters
    ----------
    uri
        ``dectris://host:port``; or a file (HDF5, .npy, .npz or TIFF), with ``::path`` behind it to
        choose one of several arrays; or a folder or pattern of TIFF files, taken in natural order.
        What a file holds decides, not its extension.
    config
        Pace and time limits.

    Raises
    ------
    UserError
        There is nothing that can be read; the text says what to do.
    """
    text = str(uri)
    scheme = _scheme(text)
    if scheme is not None:
        return _LIVE[scheme][0](text, config)
    recording = _open_recording(text, config)
    if config.speed is None:
        return recording
    try:
        return Paced(recording, config.speed, recording.series.frame_time_s)
    except UserError:
        recording.close()
        raise


def check_reachable(uri: str, config: SourceConfig) -> None:
    """Check that a live stream is there, without taking any message from it.

    Raises
    ------
    UserError
        It is not, or it is not a live stream.
    """
    scheme = _scheme(uri)
    if scheme is None:
        raise UserError(f"{uri} is not a live stream such as {_known()}: replay reads recordings")
    _LIVE[scheme][1](uri, config)


def _scheme(text: str) -> str | None:
    """Return the protocol of a live stream, None for what can be a path."""
    scheme, separator, _ = text.partition("://")
    if not separator or "/" in scheme:
        return None
    if scheme.lower() not in _LIVE:
        raise UserError(
            f"{text}: unknown protocol {scheme}; known are {_known()}, or give a file to replay"
        )
    return scheme.lower()


def _known() -> str:
    return ", ".join(f"{name}://host:port" for name in _LIVE)


def _open_recording(text: str, config: SourceConfig) -> Recording:
    path, inner = Path(text), None
    if not path.exists() and "::" in text:
        name, _, inner = text.rpartition("::")
        path = Path(name)
        if not inner:
            raise UserError(f"{text}: write the path of the frames behind ::, or leave :: out")
    if path.is_dir() or (not path.exists() and glob.has_magic(str(path))):
        if inner is not None:
            raise UserError(f"{text}: only an HDF5 or .npz file takes ::{inner}")
        return _open_files(path, config)
    kind = _kind(path)
    if inner is not None and kind not in ("HDF5", "npz"):
        raise UserError(f"{path} is not an HDF5 or .npz file: leave out ::{inner}")
    if kind == "HDF5":
        return open_hdf5(path, inner, config)
    if kind == "npz":
        return open_npz(path, inner, config)
    return open_npy(path, config) if kind == "npy" else open_tiff(path, config)


def _open_files(path: Path, config: SourceConfig) -> Recording:
    """Open a folder, or a pattern of files, of TIFF frames."""
    if path.is_dir():
        found = sorted(path.iterdir(), key=_natural)
        tiffs = [file for file in found if _SUFFIXES.get(file.suffix.lower()) == "TIFF"]
    else:
        tiffs = found = sorted(map(Path, glob.glob(str(path), recursive=True)), key=_natural)
    if not found:
        raise UserError(f"{path}: " + ("the folder is empty" if path.is_dir() else "no such files"))
    if not tiffs:
        others = [str(file) for file in found if file.suffix.lower() in _SUFFIXES]
        masters = [file for file in others if "_master" in file] or others
        hint = f": give one of {', '.join(masters[:8])}" if masters else ""
        raise UserError(f"{path} has no TIFF files{hint}")
    if len(tiffs) == 1 and not path.is_dir():
        return _open_recording(str(tiffs[0]), config)
    for file in (tiffs[0], tiffs[-1]):
        if _kind(file) != "TIFF":
            raise UserError(f"{file} is not a TIFF file: of several files each must be one")
    return open_tiff_files(str(path), tiffs, config)


def _kind(path: Path) -> str:
    """Tell the format of a file by its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not start:
        raise UserError(f"{path} is empty")
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz"
    if start.startswith(_TIFF_MAGIC):
        return "TIFF"
    if h5py.is_hdf5(path):
        return "HDF5"
    claimed = _SUFFIXES.get(path.suffix.lower())
    if claimed:
        raise UserError(f"{path} is not a {claimed} file, whatever its name says: copy it again")
    raise UserError(f"{path} is of no known format: HDF5, .npy, .npz and TIFF are read")


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that counts numbers as numbers: frame_9 comes before frame_10."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", str(path))
        if part
    ]
