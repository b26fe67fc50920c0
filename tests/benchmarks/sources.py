"""How fast recordings are read: Eiger chunks forwarded undecoded, beside a reader that decodes."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import fabio
import h5py
import hdf5plugin
import numpy as np
import tifffile
from fabio import cbfimage, edfimage
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.frames.events import Frame
from streamer.sources import open_source
from tests.benchmarks.measure import Table, rounds, spread

__all__ = ["tables"]

SHAPE = (1062, 1028)
N_EIGER, PER_FILE, N_OTHER = 1000, 500, 60
ROUNDS = 3
GOAL_RATIO = 20
AT_ONCE = 64


def write_eiger(folder: Path, data: NDArray[Any]) -> Path:
    """Write a master file and data files of bitshuffled, compressed frames."""
    path = folder / "run_master.h5"
    with h5py.File(path, "w") as master:
        for number in range(N_EIGER // PER_FILE):
            name = f"run_data_{number + 1:06d}.h5"
            master[f"entry/data/data_{number + 1:06d}"] = h5py.ExternalLink(
                name, "/entry/data/data"
            )
            with h5py.File(folder / name, "w") as file:
                stored = file.create_dataset(
                    "entry/data/data",
                    shape=(PER_FILE, *SHAPE),
                    dtype="<u2",
                    chunks=(1, *SHAPE),
                    **hdf5plugin.Bitshuffle(cname="lz4"),
                )
                for place in range(PER_FILE):
                    stored[place] = data[place % len(data)]
    return path


def write_others(folder: Path, data: NDArray[Any]) -> dict[str, Path]:
    """Write the same frames in other formats, one or many in a file."""
    files = {"TIFF": folder / "run.tif", "npy": folder / "run.npy", "GE": folder / "run.ge3"}
    series = {"CBF files": folder / "cbf", "EDF files": folder / "edf"}
    tifffile.imwrite(files["TIFF"], data)
    np.save(files["npy"], data)
    head = bytearray(8192)
    head[:5] = b"ADEPT"
    head[12:16] = (8192).to_bytes(4, "little")
    for offset, value in ((22, len(data)), (24, SHAPE[0]), (26, SHAPE[1]), (28, 16)):
        head[offset : offset + 2] = value.to_bytes(2, "little")
    files["GE"].write_bytes(bytes(head) + data.tobytes())
    for place in series.values():
        place.mkdir()
    for number, frame in enumerate(data):
        cbfimage.CbfImage(data=frame.astype(np.int32)).write(
            str(series["CBF files"] / f"{number}.cbf")
        )
        edfimage.EdfImage(data=frame).write(str(series["EDF files"] / f"{number}.edf"))
    return files | series


def replay(path: Path, *, copied: bool = True) -> int:
    """Read all events of a recording, and copy the bytes as a socket does; return the frames."""
    source, n_frames = open_source(path, SourceConfig()), 0
    sent = bytearray(SHAPE[0] * SHAPE[1] * 8)
    while not source.exhausted:
        for event in source.read(AT_ONCE):
            if isinstance(event, Frame):
                n_frames += 1
                if copied:
                    data = memoryview(event.data)
                    sent[: data.nbytes] = data
    source.close()
    return n_frames


def decode(path: Path) -> int:
    """Read all frames of a master file as arrays; return their number."""
    n_frames = 0
    with h5py.File(path) as master:
        for name in sorted(master["entry/data"]):
            stored = master["entry/data"][name]
            for place in range(len(stored)):
                n_frames += len(stored[place][None])
    return n_frames


def by_fabio(paths: list[Path]) -> int:
    """Read all frames of files of one frame each with fabio; return their number."""
    for path in paths:
        with fabio.open(str(path)) as image:
            image.data.shape  # noqa: B018
    return len(paths)


def _rate(read: Callable[[], int]) -> float:
    start = perf_counter()
    return read() / (perf_counter() - start)


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield a table with a line for each format and reader."""
    n_rounds = n_rounds or ROUNDS
    data = np.random.default_rng(1).poisson(0.3, (N_OTHER, *SHAPE)).astype("<u2")
    table = Table(
        "Recordings read, 1062 x 1028 uint16",
        ("recording", "reader", "frames/s", "GB/s of pixels"),
    )

    def measure(what: str, readers: dict[str, Callable[[], int]]) -> list[list[float]]:
        work = {name: lambda _, read=read: _rate(read) for name, read in readers.items()}
        found = rounds(n_rounds, work)
        for reader, several in found.items():
            volumes = [rate * data[0].nbytes / 1e9 for rate in several]
            table.add(what, reader, spread(several), spread(volumes, ".2f"))
        return list(found.values())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        eiger = write_eiger(folder, data)
        read, forwarded, decoded = measure(
            "Eiger bslz4",
            {
                "source, undecoded": lambda: replay(eiger, copied=False),
                "source, undecoded and copied": lambda: replay(eiger),
                "h5py + hdf5plugin, decoded": lambda: decode(eiger),
            },
        )
        for what, path in write_others(folder, data).items():
            files = sorted(path.iterdir()) if path.is_dir() else []
            readers = {"source, copied": lambda path=path: replay(path)}
            if files:
                readers["fabio"] = lambda files=files: by_fabio(files)
            measure(what, readers)
    quicker = (
        [one / two for one, two in zip(some, decoded, strict=True)] for some in (read, forwarded)
    )
    undecoded, copied = (spread(ratios) for ratios in quicker)
    table.note = (
        f"Eiger frames are read {undecoded} times as fast as they are decoded (goal "
        f"{GOAL_RATIO}), with one copy {copied} times."
    )
    yield table
