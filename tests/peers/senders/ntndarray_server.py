"""Serve images on the channel ``test:image`` with the server of the package p4p.

The images, (image, row, col), are those of an .npy file, round and round by their id. Each line on
stdin, ``first stop every_s``, posts the images with those ids at that pace. What the channel holds
at first is an image with the id that was given, or nothing, as with a detector just switched on.
"""

import argparse
import sys
import time

import numpy as np
from p4p.nt import NTNDArray
from p4p.server import Server
from p4p.server.thread import SharedPV

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--holds", type=int)
given = parser.parse_args()
images = np.load(given.file)
images.flags.writeable = False


def update(unique_id):
    value = NTNDArray().wrap(images[unique_id % len(images)])
    value.uniqueId = unique_id
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    for stamp in (value.dataTimeStamp, value.timeStamp):
        stamp.secondsPastEpoch, stamp.nanoseconds = seconds, nanoseconds
    return value


channel = SharedPV(initial=NTNDArray.buildType()() if given.holds is None else update(given.holds))


@channel.onFirstConnect
def tell(_):
    print("client", flush=True)


with Server(providers=[{"test:image": channel}]):
    print("ready", flush=True)
    for line in sys.stdin:
        first, stop, every_s = line.split()
        for number in range(int(first), int(stop)):
            channel.post(update(number))
            time.sleep(float(every_s))
        print("posted", first, stop, flush=True)
