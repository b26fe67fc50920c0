"""What ZeroMQ protocols that describe pixels in JSON have in common."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import zmq

from streamer.errors import UserError
from streamer.frames.events import Pixels
from streamer.frames.metadata import plain
from streamer.frames.pixels import dtype_named, is_pixels, uncoded

__all__ = ["coded_pixels", "json_object", "pixel_dtype", "pixel_sizes"]

_CODECS = {"": "raw", "none": "raw", "bslz4": "bslz4", "bitshuffle_lz4": "bslz4"}
"""What senders call a coding, and what it is called here."""


def json_object(part: zmq.Frame) -> dict[str, Any]:
    """Parse a part that is a JSON object.

    Raises
    ------
    ValueError
        It is not.
    """
    try:
        content = json.loads(bytes(part.buffer))
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def pixel_sizes(shape: object) -> tuple[int, int] | None:
    """Return the two sizes of an image in the order of the sender; None when they are not such."""
    if not isinstance(shape, list | tuple) or len(shape) != 2:
        return None
    first, second = shape
    if type(first) is not int or type(second) is not int or min(first, second) < 1:
        return None
    return first, second


def pixel_dtype(name: object, order: str = "<") -> np.dtype[Any] | None:
    """Return the type of a pixel; None when pixels cannot be of that type.

    Parameters
    ----------
    name
        As numpy calls it, such as ``uint16`` or ``>u2``.
    order
        ``<`` or ``>``, where the name does not say.
    """
    dtype = dtype_named(name)
    if dtype is None or not is_pixels(dtype):
        return None
    return dtype if str(name)[0] in "<>" else dtype.newbyteorder(order)  # type: ignore[arg-type]


def coded_pixels(
    blob: zmq.Frame | None,
    shape: object,
    name: object,
    codec: object,
    order: str = "<",
    *,
    complaint: str | None = None,
) -> Pixels | str:
    """Return the pixels of an image whose slow axis comes first, or what is wrong with them.

    Parameters
    ----------
    blob
        The coded pixels.
    shape, name, codec
        Sizes, type and coding as the sender says.
    order
        Of the bytes, where the type does not say.
    complaint
        Who sends pixels, such as ``the detector at ...``, if a coding that is not supported is to
        end the run: before the first image, when it must be a setting of the sender.

    Raises
    ------
    UserError
        The coding is not supported, and there is a complaint.
    """
    if blob is None:
        return "the message has no pixels"
    encoding = _CODECS.get(codec or "") if isinstance(codec, str | None) else None
    if encoding is None and complaint is not None:
        raise UserError(
            f"{complaint} codes its pixels as {plain(codec)!r}, which is not supported: set its"
            " compression to bslz4 or none"
        )
    if encoding is None:
        return f"pixels are coded as {plain(codec)}"
    sizes, dtype = pixel_sizes(shape), pixel_dtype(name, order)
    if sizes is None:
        return "its shape is no pair of sizes"
    if dtype is None:
        return f"pixels of type {plain(name)}"
    if encoding == "raw":
        return uncoded(blob, dtype, sizes)
    return Pixels(blob, encoding, dtype.str, sizes)
