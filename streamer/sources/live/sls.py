"""Live stream of slsDetectorPackage's receivers: a JSON header and the raw pixels of one port."""

from __future__ import annotations

from typing import Any

import numpy as np
import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Pixels, Series
from streamer.frames.metadata import plain_items
from streamer.frames.pixels import MAX_FRAME_BYTES
from streamer.sources.live.address import Address, Sender
from streamer.sources.live.json_pixels import json_object, pixel_sizes
from streamer.sources.live.series import Image, SeriesAssembler
from streamer.sources.live.sls_ports import Gaps, Layout, Part, put_together
from streamer.sources.live.source import LiveSource

__all__ = ["open_sls", "reach_sls"]

_RECEIVER = Sender(
    "the receiver",
    "sls://192.168.0.10:30001",
    {"ports": (), "gaps": (), "pixels": ("raw",)},
    "does it stream (rx_zmqstream 1), and is that its rx_zmqport?",
)

_MOST_PORTS = 256
_WAITING_IMAGES = 64
"""Images whose last port may still be on its way."""
_DTYPES = {8: "|u1", 16: "<u2", 32: "<u4"}
_WITH_GAIN_BITS = {3: "JUNGFRAU", 5: "MOENCH", 7: "GOTTHARD2"}
"""Types of detectors whose raw values are no counts."""
_OF_THE_IMAGE = (
    "shape", "size", "data", "frameIndex", "acqIndex", "frameNumber", "progress", "completeImage",
    "packetNumber", "timestamp", "modId", "row", "column", "expLength", "detSpec1", "detSpec2",
    "detSpec3", "detSpec4", "bunchId", "debug", "roundRNumber", "reserved",
)  # fmt: skip


def open_sls(uri: str, config: SourceConfig) -> LiveSource:
    """Subscribe to the receivers of a detector.

    Parameters
    ----------
    uri
        ``sls://host:port``, and behind it, as in ``?ports=4&gaps=0,36x8``:

        - ``ports`` is the number of ports that follow each other, one for each module or half of
          one, whose pixels are put together by the row and column that their headers say;
        - ``gaps`` are the pixels between the ports, down the rows and along the columns, 0x0 where
          they join; of several numbers for one axis each is taken in turn;
        - ``pixels=raw`` takes the values of a detector that stores its gain in them as they are.
    config
        Time limits and number of series.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there; from `read`: what is sent cannot be
        used, and what to do.
    """
    addresses = reach_sls(uri, config)
    return LiveSource(
        addresses[0],
        _Sls(addresses[0], config, len(addresses)),
        config,
        more=[address.endpoint for address in addresses[1:]],
    )


def reach_sls(uri: str, config: SourceConfig) -> list[Address]:
    """Return where the ports of a detector are, once something listens at each.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there.
    """
    first = _RECEIVER.parse(uri)
    text = first.options.get("ports", "1")
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= _MOST_PORTS):
        raise UserError(f"{uri}: ports must be their number, such as ports=4")
    Gaps.parse(first.options.get("gaps"), uri)
    addresses = [
        Address(uri, first.host, first.port + n, first.options, first.kind)
        for n in range(int(text))
    ]
    for address in addresses:
        _RECEIVER.wait_for(address, config.connect_s)
    return addresses


class _Sls:
    """Reads headers and pixels of all ports, and puts the parts of an image together."""

    def __init__(self, address: Address, config: SourceConfig, n_ports: int) -> None:
        self._address = address
        self._config = config
        self._n_ports = n_ports
        self._n_series = 0
        self._layout: Layout | None = None
        self._done = -1
        self._n_ends = 0
        self._before: object = None  # file index of the last series
        self._gaps = Gaps.parse(address.options.get("gaps"), address.uri)

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        header = json_object(parts[0])
        if not header.get("data", len(parts) > 1):  # the end, of each port
            self._n_ends += 1
            if self._n_ends == self._n_ports:
                self._finish(assembler)
                assembler.end(self._key)
            return
        number = header.get("frameIndex")
        if type(number) is not int or number < 0:
            raise ValueError("no image number that can be")
        layout = self._read_layout(header)
        known = self._layout
        if known is not None and layout.file_index == self._before != known.file_index:
            assembler.counters["stray"] += 1  # one port is still at the series before
            return
        if known is None or self._is_over(known, layout, number, assembler):
            self._finish(assembler)
            if len(parts) < 2 or len(parts[1]) != layout.n_bytes:
                raise ValueError(f"not the {layout.n_bytes} bytes of pixels that it declares")
            self._begin(layout, header, number, assembler)
            if assembler.is_done:
                return
            known = layout
        part = self._part(header, parts[1] if len(parts) > 1 else None, known)
        if number <= self._done and number not in known.waiting:
            assembler.image(Image(number=number, pixels="a port came late"), self._key)
            return
        ports = known.waiting.setdefault(number, {})
        if (part.row, part.column) in ports:
            assembler.counters["duplicates"] += 1
            return
        ports[part.row, part.column] = part
        while known.waiting and (
            len(next(iter(known.waiting.values()))) == self._n_ports
            or len(known.waiting) > _WAITING_IMAGES
        ):
            self._give(known, assembler)

    @property
    def _key(self) -> int:
        return self._n_series

    def _is_over(
        self, known: Layout, layout: Layout, number: int, assembler: SeriesAssembler
    ) -> bool:
        same = (layout.shape, layout.dtype, layout.file_index) == (
            known.shape,
            known.dtype,
            known.file_index,
        )
        return not same or not assembler.is_open or number < self._done - _WAITING_IMAGES

    def _read_layout(self, header: dict[str, Any]) -> Layout:
        sizes, grid = pixel_sizes(header.get("shape")), pixel_sizes(header.get("detshape"))
        if sizes is None or grid is None:
            raise ValueError("its shape or that of the detector is no pair of sizes")
        cols, rows = sizes
        if rows * cols > MAX_FRAME_BYTES or grid[0] * grid[1] > _MOST_PORTS:
            raise ValueError("more pixels are declared than a frame may have")
        bits = header.get("bitmode")
        dtype = _DTYPES.get(bits) if type(bits) is int else None
        if dtype is None:
            raise UserError(
                f"the receiver at {self._address.uri} sends {bits} bits a pixel, which is not"
                " supported: set dr to 8, 16 or 32"
            )
        return Layout(grid[1], grid[0], (rows, cols), np.dtype(dtype), header.get("fileIndex"))

    def _begin(
        self, layout: Layout, header: dict[str, Any], number: int, assembler: SeriesAssembler
    ) -> None:
        """Begin a series.

        Raises
        ------
        UserError
            Its pixels cannot be put together, or are no counts.
        """
        n_there = layout.rows * layout.columns
        if n_there != self._n_ports:
            raise UserError(
                f"the detector at {self._address.uri} has {layout.rows} x {layout.columns} ports"
                f" (rows x columns), and {self._n_ports} are listened to: write ports={n_there}"
                " behind the address, which is that of the first"
            )
        if n_there > 1 and self._gaps is None:
            raise UserError(
                f"the detector at {self._address.uri} has {layout.rows} x {layout.columns} ports,"
                " and nothing says how far apart their pixels are: write gaps=ROWSxCOLUMNS in"
                " pixels behind the address, gaps=0x0 where they join"
            )
        if header.get("quad"):
            raise UserError(
                f"the detector at {self._address.uri} is a quad, whose ports are turned: that is"
                " not supported"
            )
        kind = header.get("detType")
        name = _WITH_GAIN_BITS.get(kind) if type(kind) is int else None
        if name is not None and "pixels" not in self._address.options:
            raise UserError(
                f"the {name} at {self._address.uri} sends raw values with gain bits, which are no"
                " counts: take the stream of what converts them, or write pixels=raw behind the"
                " address to take them as they are"
            )
        self._n_series += 1
        self._layout, self._done, self._n_ends = layout, -1, 0
        mask, shape = None, layout.shape
        if self._gaps is not None:
            rows, cols = self._gaps.starts(layout)
            shape = rows[-1], cols[-1]
            mask = np.ones(shape, np.bool_)
            for row in rows[:-1]:
                for col in cols[:-1]:
                    mask[row : row + layout.shape[0], col : col + layout.shape[1]] = False
        said = {key: item for key, item in header.items() if key not in _OF_THE_IMAGE}
        series = Series(
            name=f"series_{self._n_series}",
            frame_time_s=self._config.frame_time_s,
            pixel_mask=mask if mask is not None and mask.any() else None,
            metadata=plain_items(said) | {"protocol": "slsDetectorPackage"},
        )
        # A publisher's images that came before this side listened are not missing.
        assembler.start(series, self._key, first_frame=number)

    def _part(self, header: dict[str, Any], blob: zmq.Frame | None, layout: Layout) -> Part:
        row, column = header.get("row"), header.get("column")
        if layout.rows * layout.columns == 1:
            row = column = 0
        if (
            type(row) is not int
            or type(column) is not int
            or not (0 <= row < layout.rows and 0 <= column < layout.columns)
        ):
            raise ValueError("its port is none of the detector")
        if blob is None or len(blob) != layout.n_bytes:
            there = 0 if blob is None else len(blob)
            return Part(row, column, f"{there} bytes of pixels instead of {layout.n_bytes}")
        if header.get("completeImage") == 0:
            return Part(row, column, f"packets of the port at {row}, {column} were lost")
        pixels = np.frombuffer(blob.buffer, layout.dtype).reshape(layout.shape)
        return Part(row, column, pixels[::-1] if header.get("flipRows") else pixels)

    def _finish(self, assembler: SeriesAssembler) -> None:
        """Give what waits, and note that nothing more of the series is to come."""
        layout, self._layout = self._layout, None
        if layout is not None:
            self._before = layout.file_index
        while layout is not None and layout.waiting:
            self._give(layout, assembler)

    def _give(self, layout: Layout, assembler: SeriesAssembler) -> None:
        """Book the image that has waited longest."""
        number, ports = layout.waiting.popitem(last=False)
        self._done = max(self._done, number)
        pixels: Pixels | str = f"{len(ports)} of {self._n_ports} ports came"
        if len(ports) == self._n_ports:
            pixels = put_together(layout, list(ports.values()), self._gaps)
        assembler.image(Image(number=number, pixels=pixels), self._key)
