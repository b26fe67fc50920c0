"""How fast recordings are read: Eiger chunks forwarded undecoded, beside a reader that decodes.

Run as ``python -m tests.benchmarks.sources``.
"""

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
from rich import box
from rich.console import Console
from rich.table import Table

from streamer.config import SourceConfig
from streamer.frames.events import Frame
from streamer.sources import open_source

__all__ = ["main"]

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


def rates(*reads: Callable[[], int]) -> Iterator[float]:
    """Yield the frames a second of each reader: the best of rounds taken in turn."""
    best = [0.0] * len(reads)
    for _ in range(ROUNDS):
        for place, read in enumerate(reads):
            start = perf_counter()
            n_frames = read()
            best[place] = max(best[place], n_frames / (perf_counter() - start))
    yield from best


def main() -> None:
    """Print one line for each format, and the ratio that is promised."""
    data = np.random.default_rng(1).poisson(0.3, (N_OTHER, *SHAPE)).astype("<u2")
    table = Table("recording", "reader", "frames/s", "GB/s of pixels", box=box.SIMPLE)
    for column in table.columns[2:]:
        column.justify = "right"

    def row(what: str, reader: str, rate: float) -> None:
        table.add_row(what, reader, f"{rate:,.0f}", f"{rate * data[0].nbytes / 1e9:.2f}")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        eiger = write_eiger(folder, data)
        read, forwarded, decoded = rates(
            lambda: replay(eiger, copied=False), lambda: replay(eiger), lambda: decode(eiger)
        )
        row("Eiger bslz4", "source, undecoded", read)
        row("Eiger bslz4", "source, undecoded and copied", forwarded)
        row("Eiger bslz4", "h5py + hdf5plugin, decoded", decoded)
        for what, path in write_others(folder, data).items():
            files = sorted(path.iterdir()) if path.is_dir() else []
            readers = [lambda path=path: replay(path)]
            if files:
                readers.append(lambda files=files: by_fabio(files))
            names = (
                ("source, raw and copied", "fabio") if not files else ("source, copied", "fabio")
            )
            for reader, rate in zip(names, rates(*readers), strict=False):
                row(what, reader, rate)
    console = Console()
    console.print(table)
    ratio = read / decoded
    console.print(
        f"frames are read {ratio:.0f} x as fast as they are decoded (goal {GOAL_RATIO}):"
        f" {'ok' if ratio >= GOAL_RATIO else 'MISSED'}; with one copy {forwarded / decoded:.0f} x",
        highlight=False,
    )


if __name__ == "__main__":
    main()
