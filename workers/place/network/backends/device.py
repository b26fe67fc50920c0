"""The device that computes, by name."""

from __future__ import annotations

import re

import torch

from streamer.errors import UserError

__all__ = ["choose_device"]


def choose_device(name: str) -> torch.device:
    """Return the device of that name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    UserError
        The name is none of these, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"device {name!r}: use auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"device {name!r}: torch finds no CUDA here; use auto or cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise UserError(f"device {name!r}: the last CUDA device here is cuda:{count - 1}")
    return device
