"""Bright pixels of coded frames, with a device for all that is done to each pixel."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamer.frames.codecs import decode
from streamer.frames.events import Frame
from workers.detect.bright import Bright
from workers.detect.correction import Correction
from workers.detect.device.bslz4 import Bslz4Decoder
from workers.detect.device.lz4 import Unpack, unpack_blocks

__all__ = ["DeviceReader"]

logger = logging.getLogger(__name__)


class DeviceReader:
    """A `workers.detect.bright.Reader` on a device.

    The device decodes, and what comes back is what the CPU goes on with: the bright pixels, and
    then those around the peaks that it made of them. These are put where they belong in a frame
    whose other pixels are left over from frames before.

    It takes bslz4 frames of unsigned pixels that are not corrected.

    Parameters
    ----------
    device
        Where to compute.
    unpack
        Decodes LZ4 there.
    """

    def __init__(self, device: torch.device, unpack: Unpack = unpack_blocks) -> None:
        self._device = device
        self._decode = Bslz4Decoder(device, unpack)
        self._known: NDArray[Any] = np.empty((0, 0), np.uint16)
        self._masked: tuple[Correction | None, Tensor | None] = None, None
        self._left, self._lost = "", False

    def __call__(self, frame: Frame, correction: Correction, lowest: int | None) -> Bright | None:
        """Return a frame, or None; see `workers.detect.bright.Reader`."""
        if not (correction.is_mask and self._decode.takes(frame)):
            if frame.series != self._left:
                self._left = frame.series
                logger.warning(
                    "frames of series %s are not for the device, which takes bslz4 of unsigned "
                    "pixels without a flat field: the CPU looks through them",
                    frame.series,
                )
            return None
        bad, highest = correction.bad, int(np.iinfo(frame.dtype).max)
        if (
            self._lost
            or min(frame.shape) < 3  # finders have other rules for these
            or (bad is not None and bad.shape != tuple(frame.shape))
            or lowest is None
            or not 0 < lowest < highest
        ):
            return None
        try:
            with torch.inference_mode():
                return self._read(frame, correction, lowest)
        except Exception as error:
            self._lose(error)
            return None

    def _read(self, frame: Frame, correction: Correction, lowest: int) -> Bright | None:
        decoded = self._decode(frame)
        if decoded is None:
            return None
        pixels, damaged = decoded
        bits = torch.iinfo(pixels.dtype)
        # With the sign turned over, signed numbers are in the order of the unsigned ones.
        ordered = pixels ^ bits.min
        # The highest number of the type marks gaps.
        bright = (ordered >= lowest + bits.min) & (ordered < bits.max)
        masked = self._mask_of(correction)
        if masked is not None:
            bright &= ~masked
        places = bright.view(-1).nonzero().view(-1)
        counts = ordered.view(-1)[places].long() - bits.min
        # One transfer for all three: each waits for the device.
        sent = torch.cat((damaged.long(), places, counts)).cpu().numpy()
        if sent[0]:
            return None
        count, cols = len(sent) // 2, pixels.shape[1]
        index, level = np.zeros((2, count + 1), np.uint32)
        # Of a frame with a margin of 1.
        index[:count] = sent[1 : 1 + count] + 2 * (sent[1 : 1 + count] // cols) + cols + 3
        level[:count] = sent[1 + count :]
        if self._known.shape != frame.shape or self._known.dtype != np.dtype(frame.dtype):
            self._known = np.zeros(frame.shape, frame.dtype)
        known = self._known.view()
        known.flags.writeable = False
        know = partial(self._know, frame, pixels)
        return Bright(known, count, index, level, know)

    def _mask_of(self, correction: Correction) -> Tensor | None:
        """Return the mask of a series, which stays on the device until that of another is asked."""
        if self._masked[0] is not correction:
            bad = correction.bad
            mask = None if bad is None else torch.from_numpy(bad.copy()).to(self._device)
            self._masked = correction, mask
        return self._masked[1]

    def _know(
        self,
        frame: Frame,
        pixels: Tensor,
        rows: NDArray[np.int32],
        cols: NDArray[np.int32],
        reach: int,
    ) -> None:
        if not len(rows):
            return
        # Beyond an edge its own pixels are taken once more, which harms nobody.
        around = np.stack((rows, cols))[:, :, None] + np.arange(-reach, reach + 1)
        row, col = np.clip(around, 0, np.array(pixels.shape).reshape(2, 1, 1) - 1)
        try:
            there = torch.from_numpy(np.stack((row, col))).to(self._device)
            patches = pixels[there[0, :, :, None], there[1, :, None, :]].cpu().numpy()
        except Exception as error:
            self._lose(error)
            self._known[...] = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
        else:
            self._known[row[:, :, None], col[:, None, :]] = patches.view(self._known.dtype)

    def _lose(self, error: Exception) -> None:
        # Drivers fail in many ways, and seldom recover.
        self._lost = True
        logger.error("%s: %s; from here on the CPU finds the peaks", self._device, error)
