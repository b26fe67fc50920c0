"""Which frames of a recording are played."""

from __future__ import annotations

import re

from streamer.errors import UserError

__all__ = ["parse_frames"]

_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(\d*))?")


def parse_frames(text: str | None) -> slice:
    """Return the frames that ``start:stop:step`` means, as in a slice of Python.

    Parameters
    ----------
    text
        Such as ``100:400:2``, ``:50`` or ``-10:``; a single number is that frame; None is all.

    Raises
    ------
    UserError
        It means nothing, or the frames backwards.
    """
    if text is None:
        return slice(None)
    words = text.replace(" ", "")
    if re.fullmatch(r"-?\d+", words):
        frame = int(words)
        return slice(frame, None if frame == -1 else frame + 1)
    match = _SLICE.fullmatch(words)
    if match is None:
        raise UserError(f"frames {text!r} mean nothing: write start:stop:step, such as 100:400:2")
    try:
        start, stop, step = (int(part) if part else None for part in match.groups())
    except ValueError:
        raise UserError(f"frames {text!r}: - is no number") from None
    if step == 0:
        raise UserError(f"frames {text!r}: the step must be 1 or more")
    return slice(start, stop, step)
