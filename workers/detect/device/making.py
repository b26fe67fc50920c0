"""A reader on a CUDA device, tried out before it is used."""

from __future__ import annotations

import numpy as np
import torch
from numba import cuda

from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame
from streamer.simulator.stream_v2 import encode_bslz4
from workers.detect.bright import Reader
from workers.detect.correction import Correction
from workers.detect.device.reader import DeviceReader

__all__ = ["agrees", "cuda_device", "make_device_reader"]

_MINVAL = 40
_SHAPE = 1030, 1065
_REACH = 5


def cuda_device(index: int) -> torch.device:
    """Return the CUDA device for a worker, where there are fewer devices in turn.

    Raises
    ------
    UserError
        There is none.
    """
    if not torch.cuda.is_available():
        raise UserError("detect.device = cuda: torch finds no CUDA here; use cpu")
    return torch.device("cuda", index % torch.cuda.device_count())


def make_device_reader(index: int) -> DeviceReader:
    """Make the reader of a detector worker, in the context of its device.

    Parameters
    ----------
    index
        Which of the detector workers it is.

    Raises
    ------
    UserError
        There is no device, its compiler is not there, or what it reads is not what the CPU does.
    """
    device = cuda_device(index)
    try:
        torch.cuda.set_device(device)
        cuda.select_device(device.index)
        if not agrees(DeviceReader(device)):
            raise RuntimeError("it reads other pixels than the CPU")
    except Exception as error:  # drivers and compilers fail in many ways
        reason = str(error) or type(error).__name__
        toolkit = f"cu{(torch.version.cuda or '13').partition('.')[0]}"
        raise UserError(
            f"detect.device = cuda: {device} cannot be used ({reason}); use cpu, or look whether "
            f"numba's compiler for it is there: pip install 'numba-cuda[{toolkit}]'"
        ) from error
    return DeviceReader(device)


def agrees(reader: Reader) -> bool:
    """Tell whether a reader knows the bright pixels of a made-up frame, and what is around them."""
    rng = np.random.default_rng(1)
    made = rng.poisson(20.0, _SHAPE).astype(np.uint16)
    made[rng.integers(_SHAPE[0], size=500), rng.integers(_SHAPE[1], size=500)] = 300
    made[::97, ::89] = 65535
    frame = Frame(
        series="trial",
        frame=0,
        time_ns=0,
        shape=_SHAPE,
        dtype=made.dtype.str,
        encoding="bslz4",
        data=memoryview(encode_bslz4(made)),
    )
    found = reader(frame, Correction(), _MINVAL)
    if found is None:
        return False
    pixels = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
    rows, cols = np.nonzero((pixels >= _MINVAL) & (pixels < 65535))
    found.know(rows.astype(np.int32), cols.astype(np.int32), _REACH)
    around = [
        np.s_[max(row - _REACH, 0) : row + _REACH + 1, max(col - _REACH, 0) : col + _REACH + 1]
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
    ]
    return (
        np.array_equal(found.index[: found.count], (rows + 1) * (_SHAPE[1] + 2) + cols + 1)
        and np.array_equal(found.level[: found.count], pixels[rows, cols])
        and all(np.array_equal(found.pixels[one], pixels[one]) for one in around)
    )
