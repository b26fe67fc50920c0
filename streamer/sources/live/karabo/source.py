"""Live stream of the European XFEL: the images of one array of each train of a Karabo bridge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Pixels, Series
from streamer.frames.metadata import plain_items
from streamer.sources.live.address import Address, Sender
from streamer.sources.live.karabo.pulses import (
    PulseAxis,
    can_be_images,
    image_shape,
    images,
    n_images,
    pulse_axis,
)
from streamer.sources.live.karabo.trains import PickledError, Train, TrainArray, parse_train
from streamer.sources.live.series import Image, SeriesAssembler
from streamer.sources.live.source import LiveSource

__all__ = ["BRIDGE", "KaraboBridge", "open_karabo"]

_WAITING_TRAINS = 2

BRIDGE = Sender(
    "the bridge",
    "karabo://192.168.0.10:4545",
    {"source": (), "path": (), "pulses": ("first", "last"), "module": ()},
    sockets={"req": zmq.REQ, "sub": zmq.SUB, "pull": zmq.PULL},
)

_PICTURES = ("image.data", "data.adc", "data.image", "data.image.data", "data.image.pixels")
_LEAST_SIDE = 16
_PER_PULSE = ("cellId", "pulseId", "trainId")
_PULSE_NS = 222
"""Time from one pulse to the next at 4.5 MHz; when they follow each other more slowly, images are
dated too early, by microseconds."""
_TRAINS_BACK = 64
_PAUSE_TRAINS = 6000
_PATIENCE_TRAINS = 10


def open_karabo(uri: str, config: SourceConfig) -> LiveSource:
    """Take the images of the trains of one array, as they come.

    Parameters
    ----------
    uri
        ``karabo://host:port``, and behind it, as in ``?socket=sub&path=image.data``:

        - ``socket`` is ``req`` (for a bridge whose socket is REP; the default), ``sub`` (PUB) or
          ``pull`` (PUSH);
        - ``source`` and ``path`` choose one of several arrays. Without them it is the only one of
          two or three axes whose images can be images, or the only one among several that is called
          as detectors call their pixels, such as ``image.data``;
        - ``pulses`` is ``first`` or ``last``, the axis of the pulses of an array of three axes.
          Without it that is the axis that is as long as the source's list of pulses or cells;
        - ``module`` is the place of one module on the first axis of an array that has several,
          which then has two or three axes more.
    config
        Time limits and number of series.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there; from `read`: what is sent cannot be
        used, or there is a choice to make.
    """
    address = BRIDGE.reach(uri, config)
    return LiveSource(
        address,
        KaraboBridge(address, config),
        config,
        # A train can have a gigabyte: the bridge, too, keeps but one for a client.
        waiting_messages=_WAITING_TRAINS,
    )


class KaraboBridge:
    """Reads trains of one array, of any version of the protocol.

    Frames are numbered through the images of the trains: ``(train - first train) * images +
    image``. A train with fewer images than those before has lost the others. A new series begins
    when there are more images, when they change their shape or type, when the numbers of the trains
    go back far, and after a pause of more than ten minutes.

    Rows of an image are the slow axis of the detector, whichever way it comes; see
    `streamer.sources.live.karabo.pulses.PulseAxis`.

    Parameters
    ----------
    address
        Of the bridge, with the user's choice.
    config
        Frame time.
    """

    def __init__(self, address: Address, config: SourceConfig) -> None:
        self._address = address
        self._config = config
        self._chosen: tuple[str, str] | None = None
        self._module = _module(address)
        self._n_without = 0
        self._run: _Run | None = None

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        try:
            train = parse_train(parts)
        except PickledError:
            if self._chosen is None:
                raise UserError(
                    f"{self._who} pickles its messages, and reading a pickle can run any program:"
                    " set its serialisation to msgpack"
                ) from None
            raise
        if self._chosen is None:
            self._chosen = self._choose(train.arrays)
        array = None if self._chosen is None else self._module_of(train.arrays.get(self._chosen))
        if self._chosen is None or array is None or 0 in array.shape:
            self._go_without(train, assembler)
            return
        number = train.number(self._chosen[0])
        if number is None:
            if self._run is None:
                raise UserError(
                    f"{self._who} sends no numbers of trains (timestamp.tid), without which lost"
                    f" trains would not be noticed: have it send the metadata of {self._chosen[0]}"
                )
            raise ValueError("no number of the train")
        train.arrays[self._chosen] = array
        self._book(train, number, self._chosen, assembler)

    def _module_of(self, array: TrainArray | None) -> TrainArray | None:
        """Return what one module of several made, where one was asked for."""
        if self._module is None or array is None:
            return array
        part = array.part(self._module)
        if part is None and self._run is None:
            raise UserError(f"{self._who} sends {array}, which has no module {self._module}")
        return part

    @property
    def _who(self) -> str:
        return f"the bridge at {self._address.host}:{self._address.port}"

    def _choose(self, arrays: dict[tuple[str, str], TrainArray]) -> tuple[str, str] | None:
        """Return source and path of the images; None when there are none."""
        source, path = (self._address.options.get(name) for name in ("source", "path"))
        fitting = [
            (name, where)
            for (name, where), array in arrays.items()
            if source in (None, name)
            and path in (None, where)
            and can_be_images(
                array, 1 if path else _LEAST_SIDE, n_more=0 if self._module is None else 1
            )
        ]
        usual = [key for key in fitting if key[1] in _PICTURES]
        if len(usual) == 1 or len(fitting) == 1:
            return (usual or fitting)[0]
        if fitting:
            raise UserError(
                f"{self._who} sends several arrays that can be images: write one of these behind"
                f" the address: {_list(f'?{_option(*k)} ({arrays[k]})' for k in usual or fitting)}"
            )
        return None

    def _go_without(self, train: Train, assembler: SeriesAssembler) -> None:
        """Count a train without images; one that is expected will be missing when more come."""
        assembler.counters["ignored"] += 1
        self._n_without += 1
        if self._run is None and self._n_without >= _PATIENCE_TRAINS:
            options = self._address.options
            wanted = " and ".join(f"{k} {options[k]}" for k in ("source", "path") if k in options)
            there = (f"{' '.join(key)} ({array})" for key, array in train.arrays.items())
            raise UserError(
                f"{self._who} sends no images (an array of 2 or 3 axes"
                f"{f', of {wanted}' if wanted else ''}); it sends {_list(there) or 'no arrays'}"
            )

    def _book(
        self, train: Train, number: int, chosen: tuple[str, str], assembler: SeriesAssembler
    ) -> None:
        array = train.arrays[chosen]
        found: list[Pixels] | str = f"{len(array.data)} bytes for an array of {array}"
        if array.is_whole:
            if not can_be_images(array):
                raise ValueError(f"an array of {array}")
            axis = self._pulse_axis(train, chosen)
            kind = array.dtype.str, image_shape(array, axis)
            n_come = n_images(array, axis)
            if self._run is None or self._run.is_over(number, kind, n_come):
                self._run = _Run(kind, n_come, first=number, last=number)
                assembler.start(self._series(train, chosen, self._run), key=number)
                if assembler.is_done:
                    return
            found = images(array, axis)
        run = self._run
        if run is None:
            raise ValueError(found)
        if number < run.first:  # overtaken by what is now the first
            assembler.counters["stray"] += 1
            return
        run.last = max(run.last, number)
        time_ns = train.time_ns(chosen[0])
        for place in range(run.n_images):
            pixels: Pixels | str
            if isinstance(found, str):
                pixels = found
            elif place < len(found):
                pixels = found[place]
            else:
                pixels = f"{len(found)} images in the train instead of {run.n_images}"
            image = Image(
                number=(number - run.first) * run.n_images + place,
                pixels=pixels,
                time_ns=None if time_ns is None else time_ns + place * _PULSE_NS,
            )
            assembler.image(image, run.first)

    def _pulse_axis(self, train: Train, chosen: tuple[str, str]) -> PulseAxis:
        array = train.arrays[chosen]
        said = self._address.options.get("pulses")
        if len(array.shape) == 3 and said is not None:
            return "first" if said == "first" else "last"
        lists = _lengths(train, chosen[0])
        axis = pulse_axis(array, lists)
        if axis is None:
            modules = ", or module=K for one of several modules that the first axis counts"
            raise UserError(
                f"{self._who} sends {array}, which does not tell the axis of the pulses: write"
                f" pulses=first or pulses=last behind the address{modules}"
            )
        return axis

    def _series(self, train: Train, chosen: tuple[str, str], run: _Run) -> Series:
        source, path = chosen
        array, guessed = train.arrays[chosen], {}
        is_told = "pulses" in self._address.options or _lengths(train, source)
        if len(array.shape) == 3 and 1 not in array.shape[::2] and not is_told:
            guessed["warnings"] = [
                f"no list of pulses came with {array}: the axis of {run.n_images} is taken for that"
                " of the pulses, being shorter; write pulses=first, pulses=last, or module=K if it"
                " counts modules"
            ]
        says = train.values.get(source, {})
        return Series(
            name=f"train_{run.first}",
            frame_time_s=self._config.frame_time_s,
            metadata=plain_items(says)
            | {
                "protocol": f"Karabo bridge {train.version}",
                "source": source,
                "path": path,
                "first_train": run.first,
                "images_per_train": run.n_images,
                **guessed,
            },
        )


def _lengths(train: Train, source: str) -> set[int]:
    """Return how long the lists of pulses of a source are."""
    return {
        array.shape[0]
        for (name, path), array in train.arrays.items()
        if name == source and path.rpartition(".")[2] in _PER_PULSE and array.shape
    }


def _module(address: Address) -> int | None:
    text = address.options.get("module")
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) < 5):
        raise UserError(f"{address.uri}: module must be its number, counted from 0")
    return None if text is None else int(text)


@dataclass(slots=True)
class _Run:
    """The trains of a series."""

    kind: tuple[str, tuple[int, int]]
    """dtype and shape of all images."""
    n_images: int
    """Of a train."""
    first: int
    last: int

    def is_over(self, number: int, kind: tuple[str, tuple[int, int]], n_images: int) -> bool:
        """Tell whether a train must be of a new series."""
        apart = not self.last - _TRAINS_BACK <= number <= self.last + _PAUSE_TRAINS
        return apart or kind != self.kind or n_images > self.n_images


def _option(source: str, path: str) -> str:
    return f"source={quote(source, safe='/:')}&path={quote(path, safe='/:')}"


def _list(texts: Iterable[str], most: int = 6) -> str:
    texts = list(texts)
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
