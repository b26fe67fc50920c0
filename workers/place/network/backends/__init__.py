"""What computes a network's answers, and on which device: one module for each way.

All backends give the answers of the same float32 network to 0.005 px.
"""

from __future__ import annotations

from workers.place.network.backends.base import InferenceBackend
from workers.place.network.backends.choice import available, choose_place, make_backend
from workers.place.network.backends.device import choose_device
from workers.place.network.backends.eager import TorchBackend, channels_last

__all__ = [
    "InferenceBackend",
    "TorchBackend",
    "available",
    "channels_last",
    "choose_device",
    "choose_place",
    "make_backend",
]
