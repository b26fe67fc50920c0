"""The forms in which live streams come, each from a reference writer, as the documentation lists.

``python -m tests.unit.streamer.sources.live.test_forms`` writes the list into the documentation.
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zmq
from rich.console import Console

from streamer.config import SourceConfig
from streamer.frames.events import Pixels, Series, SeriesEnd
from streamer.sources import check, open_source
from streamer.sources.base import Source
from streamer.sources.check import check_source
from streamer.transport.messages import pack
from tests.unit.streamer.sources.live import test_array10, test_sls, test_stins
from tests.unit.streamer.sources.live.dectris import test_v1, test_v2
from tests.unit.streamer.sources.live.karabo import test_source as test_karabo
from tests.unit.streamer.sources.live.senders import Sender, compress, pixels

DOCS = Path(__file__).parents[5] / "docs/attaching.md"
BEGIN, END = "<!-- stream forms -->\n", "<!-- end of stream forms -->\n"
N = 3


@dataclass(frozen=True)
class Form:
    """A form of a stream."""

    sent: str
    """What a user would call it."""
    said: str
    """What `check` says of its series and pixels."""
    scheme: str
    kind: int
    options: str
    write: Callable[[list[np.ndarray]], list]
    """Returns the messages of a series of images."""
    dtype: str = "<u2"
    shape: tuple[int, int] = (24, 40)
    topics: int = 1
    """That a listener subscribes to."""

    @property
    def address(self):
        return f"{self.scheme}://HOST:PORT{self.options}"

    @property
    def socket(self):
        return {zmq.XPUB: "PUB", zmq.PUSH: "PUSH", zmq.REP: "REP"}[self.kind]


def pictures(form):
    numbers = np.random.default_rng(1).integers(0, 100, (N, *form.shape))
    return list(numbers.astype(form.dtype))


def v1(encoding, blob):
    def write(frames):
        images = (
            test_v1.image(n, frame=frame, encoding=encoding, blob=blob(frame))
            for n, frame in enumerate(frames)
        )
        return [test_v1.header(nimages=N), *images, test_v1.end()]

    return write


def v2(channel, encoding):
    def write(frames):
        size = {"image_size_y": frames[0].shape[0], "image_size_x": frames[0].shape[1]}
        images = (
            test_v2.image(n, data={channel: test_v2.array(frame, encoding)})
            for n, frame in enumerate(frames)
        )
        return [test_v2.start(n=N, channels=[channel], **size), *images, test_v2.end()]

    return write


def array10(frames, **fields):
    return [test_array10.message(n, frame, **fields) for n, frame in enumerate(frames)]


def pulses(frames):
    return [
        test_array10.message(None, frame, pulse_id=1001 + 4 * n, endianness="big")
        for n, frame in enumerate(frames)
    ]


def stins(coding):
    def write(frames):
        images = (
            test_stins.image(
                n, frame, compress(frame) if coding == "bslz4" else None, compression=coding
            )
            for n, frame in enumerate(frames)
        )
        return [test_stins.header("/data/scan.h5"), *images, test_stins.end(N + 1)]

    return write


def karabo(version, arrange, lists=True):
    def write(frames):
        message = test_karabo.message(test_karabo.FIRST, arrange(np.array(frames)), version)
        if lists:
            message += test_karabo.array("image.pulseId", np.arange(N, dtype="<u8"))
        return [message]

    return write


def sls(frames):
    return [*(test_sls.message(n, frame) for n, frame in enumerate(frames)), test_sls.DUMMY]


def relay(frames):
    events = [Series(name="s", n_frames=N, metadata={"protocol": "braggstream"})]
    events += [
        Pixels(frame.tobytes(), "raw", frame.dtype.str, frame.shape).as_frame("s", n, 10**18)
        for n, frame in enumerate(frames)
    ]
    topics = {"Series": b"series", "Frame": b"frame", "SeriesEnd": b"end"}
    events.append(SeriesEnd(series="s"))
    return [[topics[type(event).__name__], *pack(event)] for event in events]


FORMS = [
    Form("DECTRIS, `legacy`, bslz4", "DECTRIS stream v1, <u2 bslz4", "dectris", zmq.PUSH, "",
         v1("bs16-lz4<", compress)),
    Form("DECTRIS, `legacy`, not compressed", "DECTRIS stream v1, <u4 raw", "dectris", zmq.PUSH,
         "", v1("<", lambda frame: frame.tobytes()), "<u4"),
    Form("DECTRIS, `legacy`, published", "DECTRIS stream v1, >u2 raw", "dectris", zmq.XPUB,
         "?socket=sub", v1(">", lambda frame: frame.tobytes()), ">u2"),
    Form("DECTRIS, `cbor`, bslz4", "DECTRIS stream v2, channel threshold_1, <u2 bslz4",
         "dectris", zmq.PUSH, "", v2("threshold_1", "bslz4")),
    Form("DECTRIS, `cbor`, lz4", "DECTRIS stream v2, channel threshold_1, <u4 lz4",
         "dectris", zmq.PUSH, "", v2("threshold_1", "lz4"), "<u4"),
    Form("Jungfraujoch", "DECTRIS stream v2, channel default, <i4 raw", "dectris", zmq.PUSH, "",
         v2("default", "raw"), "<i4"),
    Form("Jungfraujoch, preview", "DECTRIS stream v2, channel default, <i4 bslz4", "dectris",
         zmq.XPUB, "?socket=sub", v2("default", "bslz4"), "<i4"),
    Form("PSI array-1.0", "PSI array-1.0, <f4 raw", "array10", zmq.XPUB, "", array10, "<f4"),
    Form("PSI array-1.0, pushed, by pulses", "PSI array-1.0, >u2 raw", "array10", zmq.PUSH,
         "?socket=pull&step=4", pulses, ">u2"),
    Form("MAX IV STINS", "STINS, <u4 raw", "stins", zmq.PUSH, "", stins("none"), "<u4"),
    Form("MAX IV STINS, bslz4, published", "STINS, <u2 bslz4", "stins", zmq.XPUB, "?socket=sub",
         stins("bslz4")),
    Form("karabo-bridge 1.0, one image", "Karabo bridge 1.0, <u2 raw", "karabo", zmq.PUSH,
         "?socket=pull", lambda frames: [
             test_karabo.message(test_karabo.FIRST + n, frame, "1.0")
             for n, frame in enumerate(frames)]),
    Form("karabo-bridge 2.2, pulses first", "Karabo bridge 2.2, <f4 raw", "karabo", zmq.XPUB,
         "?socket=sub", karabo("2.2", lambda all_: all_), "<f4"),
    Form("karabo-bridge 2.2, pulses last", "Karabo bridge 2.2, <u2 raw", "karabo", zmq.PUSH,
         "?socket=pull", karabo("2.2", lambda all_: all_.T)),
    Form("karabo-bridge 2.2, several modules", "Karabo bridge 2.2, <u2 raw", "karabo", zmq.PUSH,
         "?socket=pull&module=1",
         karabo("2.2", lambda all_: np.stack([0 * all_, all_, 0 * all_, 0 * all_]))),
    Form("slsDetectorPackage", "slsDetectorPackage, <u4 raw", "sls", zmq.XPUB, "", sls, "<u4",
         (12, 20)),
    Form("another braggstream", "braggstream, <u2 raw", "braggstream", zmq.XPUB, "", relay,
         topics=4),
]  # fmt: skip


class Watched(Source):
    """A source that ends when as many images came as were sent, and keeps them."""

    def __init__(self, source, n_frames):
        self.source, self.left, self.frames = source, n_frames, []
        self.is_dealt = source.is_dealt

    def __getattr__(self, name):
        return getattr(self.source, name)

    live = True
    socket = property(lambda self: self.source.socket)
    counters = property(lambda self: self.source.counters)
    n_frames = property(lambda self: self.source.n_frames)
    exhausted = property(lambda self: self.left <= 0)

    def read(self, limit):
        events = self.source.read(limit)
        came = [event for event in events if hasattr(event, "data")]
        self.frames += came
        self.left -= len(came)
        return events


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.sent)
def test_a_form_arrives_as_sent_and_check_names_it(form, monkeypatch):
    with contextlib.closing(Sender(form.scheme, form.kind)) as sender:
        source = open_source(sender.uri + form.options, SourceConfig())
        sender.sources.append(source)
        for _ in range(form.topics if form.kind == zmq.XPUB else 0):
            assert sender.socket.recv()[:1] == b"\x01"
        sent = pictures(form)
        sender.send(*form.write(sent))
        watched = Watched(source, N)
        monkeypatch.setattr(check, "open_source", lambda uri, config: watched)
        text = io.StringIO()
        check_source(sender.uri, SourceConfig(), Console(file=text, width=200), seconds=10.0)
    assert len(watched.frames) == N
    for frame, picture in zip(watched.frames, sent, strict=True):
        np.testing.assert_array_equal(pixels(frame), picture)
    *named, kind = form.said.split(", ")
    assert f", {', '.join(named)}" in text.getvalue()
    rows, cols = form.shape
    assert f"{N} of {rows} x {cols} {kind}" in text.getvalue()


def table():
    rows = [f"| {form.sent} | {form.socket} | `{form.address}` | {form.said} |" for form in FORMS]
    head = ["| stream | its socket | address | `check` says |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def test_the_documentation_lists_the_forms_that_are_tested():
    assert len(FORMS) >= 12
    text = DOCS.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == table()


if __name__ == "__main__":
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    DOCS.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
