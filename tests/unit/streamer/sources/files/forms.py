"""Forms of recorded files, each with its writer; the table of them in the documentation.

``python -m tests.unit.streamer.sources.files.forms FILE.md`` writes that table.
"""

from __future__ import annotations

import bz2
import gzip
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile

SHAPE = (24, 32)
DATA = np.random.default_rng(5).integers(0, 60_000, (4, *SHAPE)).astype("<u2")
FEW = np.where(DATA > 50_000, DATA, 0).astype("<u2")
"""Frames of which most is 0."""


@dataclass(frozen=True)
class Form:
    """A form of recording.

    `write` writes it into a folder and returns what is to be read back.
    """

    kind: str
    what: str
    address: str
    """What a user gives, below the folder."""
    shown: str
    """What `check` says it took, below the folder."""
    write: Callable[[Path], np.ndarray]
    config: dict[str, Any] = field(default_factory=dict)


FORMS: dict[str, Form] = {}


def form(kind, what, address, shown=None, **config):
    def enter(write):
        FORMS[write.__name__] = Form(kind, what, address, shown or address, write, config)
        return write

    return enter


def forms(kind, what, address, shown, options):
    """Enter one form for each of several options of the writer, which takes it second."""

    def enter(write):
        for name, option in options.items():
            FORMS[f"{write.__name__}_{name}"] = Form(
                kind, what.format(name), address, shown, lambda folder, o=option: write(folder, o)
            )
        return write

    return enter


def write_h5(path, arrays, **options):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)


# --- HDF5 ----------------------------------------------------------------------------------------

ONE = {"chunks": (1, *SHAPE)}
FILTERS = {
    "no filter": ONE,
    "bitshuffle and LZ4": {**ONE, **hdf5plugin.Bitshuffle()},
    "bitshuffle and Zstandard": {**ONE, **hdf5plugin.Bitshuffle(cname="zstd")},
    "LZ4": {**ONE, **hdf5plugin.LZ4()},
    "Zstandard": {**ONE, **hdf5plugin.Zstd()},
    "Blosc": {**ONE, **hdf5plugin.Blosc()},
    "Blosc2": {**ONE, **hdf5plugin.Blosc2()},
    "gzip and shuffle": {**ONE, "compression": "gzip", "shuffle": True},
    "LZF": {**ONE, "compression": "lzf"},
    "gzip, several frames a chunk": {"chunks": (3, 10, 32), "compression": "gzip"},
}
AT = "run.h5::/entry/data/data"


@forms("HDF5", "chunks with {}", "run.h5", AT, FILTERS)
def hdf5(folder, options):
    write_h5(folder / "run.h5", {"entry/data/data": DATA}, **options)
    return DATA


@form("HDF5", "a stack in one piece, of any name", "run.h5", "run.h5::/frames")
def contiguous(folder):
    write_h5(folder / "run.h5", {"frames": DATA})
    return DATA


@form("HDF5", "the newest version of the format", "run.h5", "run.h5::/entry/data/data")
def latest(folder):
    with h5py.File(folder / "run.h5", "w", libver="latest") as file:
        file.create_dataset("entry/data/data", data=DATA, maxshape=(None, *SHAPE), **ONE)
    return DATA


@form("HDF5", "with a user block", "run.h5", "run.h5::/entry/data/data")
def user_block(folder):
    with h5py.File(folder / "run.h5", "w", userblock_size=1024) as file:
        file["entry/data/data"] = DATA
    return DATA


def eiger(folder, group, link):
    for number in (1, 2):
        part = DATA[2 * number - 2 : 2 * number]
        write_h5(folder / f"a_data_00000{number}.h5", {"entry/data/data": part}, **FILTERS["LZ4"])
    with h5py.File(folder / "a_master.h5", "w") as file:
        for number in (1, 2):
            name = link.format(f"a_data_00000{number}.h5")
            file[f"{group}/data_00000{number}"] = h5py.ExternalLink(name, "entry/data/data")
    return DATA


@form("Eiger", "master with data files", "a_master.h5", "a_master.h5::/entry/data")
def eiger_master(folder):
    return eiger(folder, "entry/data", "{}")


@form("Eiger", "master of 2012 to 2014", "a_master.h5", "a_master.h5::/entry")
def eiger_old(folder):
    return eiger(folder, "entry", "{}")


@form("Eiger", "master written on Windows", "a_master.h5", "a_master.h5::/entry/data")
def eiger_windows(folder):
    return eiger(folder, "entry/data", "D:\\data\\run\\{}")


@form(
    "Eiger", "one dataset of several channels (2024)", "a_master.h5",
    "a_master.h5::/entry/data/data", channel="threshold_2",
)  # fmt: skip
def eiger_channels(folder):
    both = np.stack([DATA // 2, DATA], axis=1)
    names = np.array([b"threshold_1", b"threshold_2"])
    write_h5(folder / "a_master.h5", {"entry/data/data": both, "entry/data/channel": names})
    return DATA


def map_virtually(folder, name, place):
    write_h5(folder / "raw.h5", {"data": DATA})
    layout = h5py.VirtualLayout(DATA.shape, "<u2")
    place(layout, h5py.VirtualSource("raw.h5", "data", DATA.shape))
    with h5py.File(folder / name, "w") as file:
        file.create_group("entry/data").create_virtual_dataset("data", layout)
    return DATA


@form("NeXus", "virtual dataset (Diamond, Odin)", "run.nxs", "run.nxs::/entry/data/data")
def virtual(folder):
    def whole(layout, source):
        layout[:] = source

    return map_virtually(folder, "run.nxs", whole)


@form("NeXus", "frames put together from modules", "run.nxs", "run.nxs::/entry/data/data")
def modules(folder):
    def halves(layout, source):
        layout[:, :12], layout[:, 12:] = source[:, :12], source[:, 12:]

    return map_virtually(folder, "run.nxs", halves)


@form("NeXus", "`default` and `signal`", "run.nxs", "run.nxs::/scan/plot/counts")
def nexus_default(folder):
    with h5py.File(folder / "run.nxs", "w") as file:
        file.attrs["default"] = "scan"
        file.create_group("scan").attrs["default"] = "plot"
        file["scan/plot/counts"], file["scan/raw/data"] = DATA, DATA[:, :, ::-1]
        file["scan/plot"].attrs["signal"] = "counts"
    return DATA


@form("HDF5", "data exchange (APS), darks beside it", "run.h5", "run.h5::/exchange/data")
def data_exchange(folder):
    dark = np.zeros((9, *SHAPE), "u2")
    write_h5(
        folder / "run.h5", {f"exchange/data{end}": a for end, a in (("", DATA), ("_dark", dark))}
    )
    return DATA


@form("HDF5", "one of the scans of BLISS (ESRF)", "run.h5::/2.1/measurement/eiger")
def bliss(folder):
    with h5py.File(folder / "run.h5", "w") as file:
        for scan, data in (("1.1", DATA // 2), ("2.1", DATA)):
            file[f"{scan}/instrument/eiger/data"] = data
            file[f"{scan}/measurement/eiger"] = h5py.SoftLink(f"/{scan}/instrument/eiger/data")
    return DATA


@form("HDF5", "CXI", "run.cxi", "run.cxi::/entry_1/instrument_1/detector_1/data")
def cxi(folder):
    with h5py.File(folder / "run.cxi", "w") as file:
        file["entry_1/instrument_1/detector_1/data"] = DATA
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/instrument_1/detector_1/mask"] = np.zeros(SHAPE, "u4")
    return DATA


@form("HDF5", "areaDetector, frames on a grid (4 axes)", "run.h5", "run.h5::/entry/data/data")
def grid(folder):
    write_h5(folder / "run.h5", {"entry/data/data": DATA.reshape(2, 2, *SHAPE)})
    return DATA


@form("HDF5", "5 axes", "run.h5", "run.h5::/entry/data/data")
def five_axes(folder):
    write_h5(folder / "run.h5", {"entry/data/data": DATA.reshape(1, 2, 2, *SHAPE)})
    return DATA


@form("HDF5", "MAX IV", "run.h5", "run.h5::/entry/instrument/eiger/data")
def max_iv(folder):
    write_h5(folder / "run.h5", {"entry/instrument/eiger/data": DATA})
    return DATA


@form("HDF5", "European XFEL, corrected", "run.h5", "run.h5::/INSTRUMENT/DET/0CH0:xtdf/image/data")
def xfel(folder):
    data = (DATA / 7).astype("<f4")
    where = "INSTRUMENT/DET/0CH0:xtdf/image"
    write_h5(folder / "run.h5", {f"{where}/data": data, f"{where}/mask": np.zeros_like(DATA, "u4")})
    return data


@form("HDF5", "JUNGFRAU, converted (PSI)", "run.h5", "run.h5::/data/JF07T32V02/data")
def jungfrau(folder):
    data = DATA.astype("<i4") * 3
    write_h5(folder / "run.h5", {"data/JF07T32V02/data": data})
    return data


@form("HDF5", "one image a file", "Laue_*.h5", "Laue_#####.h5, 4 files 0 to 3")
def images(folder):
    for number, frame in enumerate(DATA):
        write_h5(folder / f"Laue_{number:05d}.h5", {"entry1/data/data": frame})
    return DATA


@form("HDF5", "one image a file, by its path", "b_####.h5::/b", "b_####.h5::/b, 4 files 7 to 10")
def images_by_path(folder):
    for number, frame in enumerate(DATA, 7):
        write_h5(folder / f"b_{number:04d}.h5", {"a": frame // 2, "b": frame})
    return DATA


@form("HDF5", "address of silx", "run.h5?path=/b&slice=0:4", "run.h5::/b")
def silx(folder):
    write_h5(folder / "run.h5", {"a": DATA // 2, "b": np.concatenate([DATA, DATA])})
    return DATA


@form("HEXRD", "imageseries in HDF5", "run.h5", "run.h5::/imageseries/images")
def hexrd(folder):
    write_h5(folder / "run.h5", {"imageseries/images": DATA}, **FILTERS["gzip and shuffle"])
    return DATA


@form("HEXRD", "frame cache `.npz`", "run.npz", "run.npz, a frame cache of HEXRD")
def cache_npz(folder):
    kept = {}
    for number, frame in enumerate(FEW):
        row, col = np.nonzero(frame)
        kept |= {f"{number}_row": row, f"{number}_col": col, f"{number}_data": frame[row, col]}
    said = {"shape": SHAPE, "nframes": len(FEW), "dtype": b"uint16", "omega": np.zeros((4, 2))}
    np.savez_compressed(folder / "run.npz", **kept, **said)
    return FEW


@form("HEXRD", "frame cache `.fch5`", "run.fch5", "run.fch5, a frame cache of HEXRD")
def cache_h5(folder):
    places = [np.argwhere(frame) for frame in FEW]
    ends = np.cumsum([0, *map(len, places)])
    with h5py.File(folder / "run.fch5", "w") as file:
        file.attrs["HEXRD_FRAMECACHE_VERSION"] = 1
        file["shape"], file["nframes"], file["dtype"] = SHAPE, len(FEW), b"uint16"
        file["indices"] = np.concatenate(places).astype("u2")
        file["data"] = FEW[FEW > 0][:, None]
        file["frame_ids"] = np.stack([ends[:-1], ends[1:]], axis=1).ravel()
        file["metadata/omega"] = np.zeros((4, 2))
    return FEW


def bslz4(folder, frame):
    write_h5(folder / "t.h5", {"a": frame[None]}, **FILTERS["bitshuffle and LZ4"])
    with h5py.File(folder / "t.h5") as file:
        data = file["a"].id.read_direct_chunk((0, 0, 0))[1]
    (folder / "t.h5").unlink()
    return np.frombuffer(data, "u1")


def kept_stream(folder, below):
    with h5py.File(folder / "run.h5", "w") as file:
        for number, frame in enumerate(DATA):
            group = file.create_group(f"data/{number}{below}")
            group["data"], group["elem_size"] = bslz4(folder, frame), 2
            group["compression_type"], group["dtype"], group["shape"] = "bslz4", "uint16", SHAPE
        file["metadata/omega"] = np.zeros((4, 2))
    return DATA


@form("HEXRD", "`eiger-stream-v1`", "run.h5", "run.h5, a stream of version 1 as HEXRD keeps it")
def stream_v1(folder):
    return kept_stream(folder, "")


@form(
    "HEXRD", "`eiger-stream-v2`", "run.h5",
    "run.h5, a stream of version 2 as HEXRD keeps it, channel threshold_1",
)  # fmt: skip
def stream_v2(folder):
    return kept_stream(folder, "/threshold_1")


@form("ImageD11", "sparse scan", "run.h5", "run.h5, scan 1.1 of a sparse file of ImageD11")
def imaged11(folder):
    places = np.argwhere(FEW)
    with h5py.File(folder / "run.h5", "w") as file:
        group = file.create_group("1.1")
        group.attrs.update(nframes=len(FEW), shape0=SHAPE[0], shape1=SHAPE[1], itype="uint16")
        group["nnz"] = [np.count_nonzero(frame) for frame in FEW]
        group["row"], group["col"] = places[:, 1].astype("u2"), places[:, 2].astype("u2")
        group["intensity"] = FEW[FEW > 0]
    return FEW


# --- Zarr ----------------------------------------------------------------------------------------


def write_zarr(store, version):
    import zarr

    root = zarr.open_group(store, mode="w", zarr_format=version)
    for name, data in (("exchange/data", DATA), ("exchange/dark", DATA[:1])):
        array = root.create_array(name, shape=data.shape, chunks=(1, *SHAPE), dtype="<u2")
        array[:] = data
    return DATA


@form("Zarr", "folder, version 2", "run.zarr", "run.zarr::/exchange/data")
def zarr_2(folder):
    return write_zarr(str(folder / "run.zarr"), 2)


@form("Zarr", "folder, version 3", "run.zarr", "run.zarr::/exchange/data")
def zarr_3(folder):
    return write_zarr(str(folder / "run.zarr"), 3)


@form("Zarr", "archive (MIDAS)", "run.MIDAS.zip", "run.MIDAS.zip::/exchange/data")
def zarr_zip(folder):
    from zarr.storage import ZipStore

    store = ZipStore(folder / "run.MIDAS.zip", mode="w")
    write_zarr(store, 2)
    store.close()
    return DATA


# --- numpy ---------------------------------------------------------------------------------------


@form("numpy", "`.npy`", "run.npy")
def npy(folder):
    np.save(folder / "run.npy", DATA)
    return DATA


@form("numpy", "`.npy` in Fortran's order, big-endian", "run.npy")
def npy_fortran(folder):
    data = np.asfortranarray(DATA.astype(">i4"))
    np.save(folder / "run.npy", data)
    return data


@form("numpy", "`.npy`, packed", "run.npy.gz")
def npy_gz(folder):
    np.save(folder / "run.npy", DATA)
    return pack(folder / "run.npy", gzip)


@form("numpy", "`.npz`, darks beside the frames", "run.npz", "run.npz::frames")
def npz(folder):
    np.savez_compressed(folder / "run.npz", frames=DATA, dark=DATA[:1], omega=np.zeros(4))
    return DATA


@form("numpy", "one array of several of an `.npz`", "run.npz::b")
def npz_by_name(folder):
    np.savez(folder / "run.npz", a=DATA // 2, b=DATA)
    return DATA


# --- TIFF ----------------------------------------------------------------------------------------


def pack(path, package, data=DATA):
    """Put a file into an archive of its own."""
    ending = {gzip: ".gz", bz2: ".bz2"}[package]
    path.with_name(path.name + ending).write_bytes(package.compress(path.read_bytes()))
    path.unlink()
    return data


TIFFS = {
    "one piece": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "ImageJ": {"imagej": True},
    "tiles": {"tile": (16, 16)},
    "LZW": {"compression": "lzw"},
    "LZW with a predictor": {"compression": "lzw", "predictor": 2},
    "Deflate": {"compression": "zlib", "rowsperstrip": 5},
    "Zstandard": {"compression": "zstd"},
    "LZMA": {"compression": "lzma"},
    "PackBits": {"compression": "packbits"},
    "JPEG 2000, lossless": {"compression": "jpeg2000"},
    "JPEG XL, lossless": {"compression": "jpegxl"},
    "LERC, lossless": {"compression": "lerc"},
    "PNG": {"compression": "png"},
}


@forms("TIFF", "stack, {}", "run.tif", "run.tif", TIFFS)
def tiff(folder, options):
    tifffile.imwrite(folder / "run.tif", DATA, photometric="minisblack", **options)
    return DATA


@form("TIFF", "floats, Deflate with a predictor", "run.tif")
def tiff_float(folder):
    data = (DATA / 7).astype("<f4")
    tifffile.imwrite(
        folder / "run.tif", data, photometric="minisblack", compression="zlib", predictor=3
    )
    return data


@form("TIFF", "pages written one by one, LZW (Pillow)", "run.tif")
def tiff_pillow(folder):
    from PIL import Image

    first, *others = map(Image.fromarray, DATA.astype("<i4"))
    options = {"save_all": True, "append_images": others, "compression": "tiff_lzw"}
    first.save(folder / "run.tif", **options)
    return DATA.astype("<i4")


def write_series(folder, name, write):
    for number, frame in enumerate(DATA, 3):
        write(folder / name.format(number), frame)
    return DATA


@form("TIFF", "folder", ".", "a_####.tif, 4 files 3 to 6")
def tiff_folder(folder):
    (folder / "._a_0001.tif").write_bytes(b"Mac OS X")
    return write_series(folder, "a_{:04d}.tif", tifffile.imwrite)


@form("TIFF", "pattern", "a_*.tif", "a_#.tif, 4 files 3 to 6")
def tiff_pattern(folder):
    return write_series(folder, "a_{}.tif", tifffile.imwrite)


@form("TIFF", "template of C", "a_%04d.tif", "a_####.tif, 4 files 3 to 6")
def tiff_template(folder):
    write_series(folder, "b_{:04d}.tif", tifffile.imwrite)
    return write_series(folder, "a_{:04d}.tif", tifffile.imwrite)


@form("TIFF", "template with #", "a_####.tif", "a_####.tif, 4 files 3 to 6")
def tiff_hashes(folder):
    write_series(folder, "b_{:04d}.tif", tifffile.imwrite)
    return write_series(folder, "a_{:04d}.tif", tifffile.imwrite)


@form("TIFF", "folder of `.tif.gz`", ".", "a_####.tif.gz, 4 files 3 to 6")
def tiff_gz(folder):
    def write(path, frame):
        tifffile.imwrite(path, frame)
        pack(path, gzip)

    return write_series(folder, "a_{:04d}.tif", write)


@form("TIFF", "`.tif.bz2`", "run.tif.bz2")
def tiff_bz2(folder):
    tifffile.imwrite(folder / "run.tif", DATA, photometric="minisblack")
    return pack(folder / "run.tif", bz2)


@form("TIFF", "Pilatus", "a_*.tif", "a_#.tif, 4 files 3 to 6")
def tiff_pilatus(folder):
    said = "# Pixel_size 172e-6 m x 172e-6 m\r\n# Exposure_time 0.0950000 s\r\n"
    data = DATA.astype("<i4")
    for number, frame in enumerate(data, 3):
        tifffile.imwrite(folder / f"a_{number}.tif", frame, description=said, metadata=None)
    return data


# --- what fabio writes ---------------------------------------------------------------------------


@form("CBF", "folder", ".", "a_####.cbf, 4 files 3 to 6")
def cbf(folder):
    from fabio.cbfimage import CbfImage

    data = DATA.astype("<i4")
    write_series(folder, "a_{:04d}.cbf", lambda p, f: CbfImage(data=f.astype("<i4")).write(str(p)))
    return data


@form("CBF", "`.cbf.gz`", "a.cbf.gz")
def cbf_gz(folder):
    from fabio.cbfimage import CbfImage

    data = DATA[:1].astype("<i4")
    CbfImage(data=data[0]).write(str(folder / "a.cbf"))
    return pack(folder / "a.cbf", gzip, data)


def write_edf(path, data):
    from fabio.edfimage import EdfImage

    image = EdfImage(data=data[0])
    for frame in data[1:]:
        image.append_frame(data=frame)
    image.write(str(path))
    return data


@form("EDF", "several frames", "run.edf")
def edf(folder):
    return write_edf(folder / "run.edf", DATA)


@form("EDF", "one frame a file", "a_*.edf", "a_####.edf, 4 files 3 to 6")
def edf_series(folder):
    return write_series(folder, "a_{:04d}.edf", lambda path, frame: write_edf(path, frame[None]))


@form("EDF", "`.edf.gz`", "run.edf.gz")
def edf_gz(folder):
    write_edf(folder / "run.edf", DATA[:1])
    return pack(folder / "run.edf", gzip, DATA[:1])


@form("EDF", "`.edf.bz2`", "run.edf.bz2")
def edf_bz2(folder):
    write_edf(folder / "run.edf", DATA[:1])
    return pack(folder / "run.edf", bz2, DATA[:1])


FABIO = {
    "d*TREK": ("dtrekimage.DtrekImage", "a.img", DATA[0]),
    "ADSC": ("adscimage.AdscImage", "a.img", DATA[0]),
    "Oxford Diffraction": ("OXDimage.OxdImage", "a.img", DATA[0].astype("<i4")),
    "Bruker": ("bruker100image.Bruker100Image", "a.sfrm", DATA[0].astype("<i4")),
    "Esperanto": ("esperantoimage.EsperantoImage", "a.esper", np.tile(DATA[0, :16, :16], (16, 16))),
    "PGM": ("pnmimage.PnmImage", "a.pgm", DATA[0]),
}


def enter_fabio():
    import importlib

    def writer(codec, name, frame):
        module, _, kind = codec.partition(".")

        def write(folder):
            data = frame.astype("<i4") if name.endswith("esper") else frame
            image = getattr(importlib.import_module(f"fabio.{module}"), kind)
            image(data=data, header={}).write(str(folder / name))
            return data[None]

        return write

    for what, (codec, name, frame) in FABIO.items():
        form("fabio", what, name)(writer(codec, name, frame))
        FORMS[f"fabio_{what}"] = FORMS.pop("write")


enter_fabio()


# --- headers and bytes ---------------------------------------------------------------------------


def write_ge(path, head, data):
    path.write_bytes(head.ljust(8192, b"\0") + data.tobytes())
    return data


@form("GE", "header of the detector", "a.ge3", "a.ge3, as its header says")
def ge(folder):
    head = struct.pack("<10sHIHIHHHH", b"ADEPT", 1, 8192, 1, 0, len(DATA), *SHAPE, 16)
    return write_ge(folder / "a.ge3", head, DATA)


@form("GE", "header of EDF (APS)", "a.ge5", "a.ge5, as its header of EDF says")
def ge_edf(folder):
    head = (
        "{\nEDF_HeaderSize = 8192 ;\nByteOrder = LowByteFirst ;\nDataType = SignedInteger ;\n"
        f"Dim_1 = {SHAPE[1]} ;\nDim_2 = {SHAPE[0]} ;\nNum_Images = {len(DATA)} ;\n}}"
    )
    return write_ge(folder / "a.ge5", head.encode(), DATA.astype("<i4"))


@form("GE", "packed", "a.ge2.bz2", "a.ge2.bz2, as its header says")
def ge_packed(folder):
    head = struct.pack("<10sHIHIHHHH", b"ADEPT", 1, 8192, 1, 0, len(DATA), *SHAPE, 16)
    write_ge(folder / "a.ge2", head, DATA)
    return pack(folder / "a.ge2", bz2)


@form(
    "any", "as `source.raw` says", "a.bin", "a.bin as source.raw says, from byte 512 on",
    raw={"shape": list(SHAPE), "dtype": ">i4", "offset": 512},
)  # fmt: skip
def raw(folder):
    (folder / "a.bin").write_bytes(bytes(512) + DATA.astype(">i4").tobytes())
    return DATA.astype(">i4")


def page() -> str:
    """Return the table of all forms."""
    lines = [
        "<!-- Made by `make docs` from tests/unit/streamer/sources/files/forms.py: change it"
        " there. -->\n",
        "# Forms of recordings\n",
        "Each is written by a test and read back pixel by pixel. Most forms are written by the"
        " tests after each format's description: what the program in question writes was not at"
        " hand. h5py, tifffile, zarr and fabio are the real writers of what is theirs. CBF, EDF,"
        " what else fabio reads, Zarr and most codings of TIFF take the extra `formats`. What"
        " `check` says it took is the same in the table that ends a run, and in `run.json`.\n",
        "| form | what | given | taken, as `check` says |",
        "|---|---|---|---|",
    ]
    for one in FORMS.values():
        given = "a folder" if one.address == "." else f"`{one.address}`"
        given += "".join(f" with `source.{key}`" for key in one.config)
        lines.append(f"| {one.kind} | {one.what} | {given} | `{one.shown}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
