"""What tests of live sources share: a sender on a port the system chose, and reading from it."""

import json
import time

import h5py
import hdf5plugin
import pytest
import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap
from streamer.sources import open_source

FILTERS = {"bslz4": hdf5plugin.Bitshuffle(cname="lz4"), "lz4": hdf5plugin.LZ4()}


def js(**fields):
    return json.dumps(fields).encode()


def compress(frame, encoding="bslz4"):
    """Code pixels as the filters of HDF5 do."""
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        chunks = (1, *frame.shape)
        data = file.create_dataset("d", data=frame[None], chunks=chunks, **FILTERS[encoding])
        return data.id.read_direct_chunk((0, 0, 0))[1]


class Sender:
    """A socket that can go away and come back, and the sources that listen to it.

    What a test does not say of a source is as in `config`.
    """

    def __init__(self, scheme, kind=zmq.PUSH, hwm=1000, **config):
        self.scheme, self.kind, self.hwm, self.config = scheme, kind, hwm, config
        self.context = zmq.Context()
        self.context.linger = 0
        self.sources = []
        self.port = 0
        self.bind()

    @property
    def uri(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def bind(self):
        self.socket = self.context.socket(self.kind)
        self.socket.set(zmq.SNDTIMEO, 5000)
        self.socket.set(zmq.RCVTIMEO, 5000)
        self.socket.set_hwm(self.hwm)
        self.socket.bind(f"tcp://127.0.0.1:{self.port or '*'}")
        self.port = int(self.socket.get_string(zmq.LAST_ENDPOINT).rpartition(":")[2])

    def open(self, options="", **config):
        """Return a source; what is sent from now on comes to it."""
        source = open_source(self.uri + options, SourceConfig(**self.config | config))
        self.sources.append(source)
        self.await_subscription()
        return source

    def await_subscription(self):
        if self.kind == zmq.XPUB:
            assert self.socket.recv() == b"\x01"

    def send(self, *messages):
        for parts in messages:
            self.socket.send_multipart(parts if isinstance(parts, list) else [parts])

    def complaint(self, *messages):
        """Return the one line that is said of messages that cannot be used."""
        self.send(*messages)
        with pytest.raises(UserError) as caught:
            read(self.sources[-1], 1000)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def die(self):
        """Go away, and have the sources notice."""
        self.socket.close()
        self.await_loss()

    def await_loss(self):
        for source in self.sources:
            while not source.counters["disconnects"]:
                assert source.read(10) == []
                time.sleep(0.01)

    def replace(self, source, names, **config):
        """Have a source die, and return another that goes on where it was."""
        source.close()
        # With another socket: this one might still send to the source that is gone.
        self.socket.close(linger=0)
        self.port = 0
        self.bind()
        tracking = self.open(**config)
        tracking.resume(names, source.opening)
        return tracking

    def come_back(self):
        """Be another process at the same port, as soon as it is free."""
        while True:
            try:
                self.bind()
                break
            except zmq.ZMQError:
                self.socket.close()
        self.await_subscription()

    def close(self):
        for source in self.sources:
            source.close()
        self.context.destroy(linger=0)


def read(source, n_events):
    """Return as many events as should come."""
    events = []
    while len(events) < n_events:
        events += (got := source.read(100))
        if not got:
            assert source.socket is not None, f"only {events} came"
            assert source.socket.poll(5000), f"only {events} came"
    assert len(events) == n_events
    return events


def counts(source):
    return {name: n for name, n in source.counters.items() if n}


def numbers(events):
    return [event.frame for event in events if isinstance(event, Frame)]


def gaps(events):
    return [(event.frames, event.reason) for event in events if isinstance(event, Gap)]


def pixels(frame):
    return decode(frame.data, frame.encoding, frame.dtype, frame.shape)
