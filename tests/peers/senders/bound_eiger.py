"""The Eiger of tickit-devices on sockets that only bind, as those of a detector do.

Its own sockets connect to themselves besides, and as long as ZeroMQ does not notice, every second
message goes that way and is lost.
"""

import aiozmq
import pydantic.v1.dataclasses
import zmq
from tickit.adapters.io import ZeroMqPushIo
from tickit.core.components.component import Component
from tickit_devices.eiger import Eiger


@pydantic.v1.dataclasses.dataclass
class BoundEiger(Eiger):
    def __call__(self) -> Component:
        component = super().__call__()
        for adapter in component.adapters:
            if isinstance(adapter.io, ZeroMqPushIo):
                adapter.io._socket_factory = bound
        return component


async def bound(host: str, port: int) -> aiozmq.ZmqStream:
    return await aiozmq.create_zmq_stream(zmq.PUSH, bind=f"tcp://{host}:{port}")
