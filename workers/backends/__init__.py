"""What computes a network's answers, and on which device: one module for each way.

All backends give the answers of the same float32 network to 0.005 px.
"""

from __future__ import annotations

from workers.backends.base import InferenceBackend
from workers.backends.choice import available, choose_place, make_backend
from workers.backends.device import choose_device
from workers.backends.eager import TorchBackend, channels_last

__all__ = [
    "InferenceBackend",
    "TorchBackend",
    "available",
    "channels_last",
    "choose_device",
    "choose_place",
    "make_backend",
]
