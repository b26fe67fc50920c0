"""The kernel itself: in numba's simulator anywhere, and on a CUDA device where there is one."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from streamer.errors import UserError
from tests.unit.workers.detect.device.coded import (
    assert_same,
    by_cpu,
    by_device,
    coded,
    corrections,
    frame_of,
    picture,
)
from workers.detect.correction import Correction
from workers.detect.device.making import cuda_device, make_device_reader
from workers.detect.device.reader import DeviceReader

DTYPES = ("u1", "<u2", "<u4")


def compare(device, shapes, n_damaged, seed=0):
    """Compare a device with the CPU, over types, tails, masks, saturation and damage."""
    rng, n_taken, n_left = np.random.default_rng(seed), 0, 0
    reader = DeviceReader(torch.device(device))
    for dtype in DTYPES:
        for shape in shapes:
            frame = coded(picture(rng, shape, dtype), 128)
            for correction in corrections(rng, shape):
                assert_same(by_device(reader, frame, correction), by_cpu(frame, correction))
        for _ in range(n_damaged):
            data = bytearray(frame.data)
            data[rng.integers(12, len(data))] = rng.integers(256)
            damaged = frame_of(bytes(data), frame.shape, dtype)
            ours, theirs = by_device(reader, damaged, Correction()), by_cpu(damaged, Correction())
            if ours is not None:
                assert_same(ours, theirs)
            n_taken, n_left = n_taken + (ours is not None), n_left + (ours is None)
    assert min(n_taken, n_left) > 0 or not n_damaged


CODE = """
from tests.unit.workers.detect.device import test_kernel
from numba import config
assert config.ENABLE_CUDASIM
test_kernel.compare("cpu", [(11, 13), (16, 16)], 12)
"""


def test_the_kernel_does_in_a_simulator_what_the_cpu_does():
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    subprocess.run([sys.executable, "-W", "error", "-c", CODE], check=True, env=environment)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.filterwarnings("ignore:Grid size")
def test_a_device_does_what_the_cpu_does():
    make_device_reader(0)
    compare("cuda:0", [(64, 64), (67, 93), (3, 1000), (512, 513)], 200)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_that_there_is_no_device_is_said_with_what_to_do():
    with pytest.raises(UserError, match="torch finds no CUDA here; use cpu"):
        cuda_device(0)
