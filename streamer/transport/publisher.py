"""The one pattern of every hop: a publisher that knows its members, and subscribers that are them.

A subscriber subscribes to a topic of its own, ``pool/name/host/unique``. XPUB delivers that
subscription to the publisher, for which it is a membership: each parcel goes to exactly one member
of its pool, the one with the fewest frames before it, or where that is wanted to one on its own
host. When a member's connection closes, its unsubscription arrives and what it had is sent again. A
parcel is kept until all its numbers are acknowledged by the far end of the pipeline, so a publisher
needs no answer from the next hop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

import zmq

from streamer.frames.events import Buffer
from streamer.frames.memory import COPIED_BYTES, as_part
from streamer.transport.pool import Member, Parcel, Pool
from streamer.transport.sockets import bind_hop, harden, host_of, keys_of

__all__ = ["Publisher"]

_PREFETCH_FRAMES = 512
"""Frames one member may have before it: enough to work on while the sink writes a part."""
_MAX_TRIES = 3
_MORE = int(zmq.SNDMORE)
_GRACE_S = 1.0
"""For nodes that live to bring to a new sink what they brought to the one before."""


class Publisher:
    """Sends each parcel to one member of a pool and keeps it until it is acknowledged.

    Parameters
    ----------
    context
        ZeroMQ context.
    address
        Where to bind; ``tcp://127.0.0.1:*`` lets the system choose a port.
    prefetch, prefetch_bytes
        Frames, and bytes of messages, that one member may have before it; of these one message
        more.
    ack_timeout_s
        A parcel is sent again when its member has brought nothing to the far end for so long;
        None: never.
    max_tries
        A parcel sent this often in vain is handed to `on_failed`.
    on_failed
        Called with such a parcel, which is then forgotten.
    stays_near
        Members on the host of this publisher come first, as long as they keep up.

    Raises
    ------
    UserError
        The address is in use or cannot be bound.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        *,
        prefetch: int = _PREFETCH_FRAMES,
        prefetch_bytes: float = math.inf,
        ack_timeout_s: float | None = None,
        max_tries: int = _MAX_TRIES,
        on_failed: Callable[[Parcel], None] | None = None,
        stays_near: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.socket = context.socket(zmq.XPUB)
        harden(self.socket)
        self.socket.set(zmq.SNDHWM, 0)
        self.socket.copy_threshold = COPIED_BYTES
        self.address = bind_hop(self.socket, address)
        self.redelivered = 0
        self._prefetch, self._prefetch_bytes = prefetch, prefetch_bytes
        self._timeout = ack_timeout_s
        self._max_tries = max_tries
        self._on_failed = on_failed
        self._clock = clock
        self._near = host_of(self.socket) if stays_near else ""
        self._pools: dict[str, Pool] = {}
        self._parcels: dict[int, Parcel] = {}
        self._upto = 0
        self._next_check = 0.0
        self._orphans_due = math.inf

    @property
    def outstanding(self) -> int:
        """Numbers not yet acknowledged."""
        return len(self._parcels)

    @property
    def waiting(self) -> int:
        """Numbers for which no member has had room."""
        pools = self._pools.values()
        return sum(len(parcel.on_its_way) for pool in pools for parcel in pool.waiting)

    def waits(self, pool: str) -> bool:
        """Tell whether something waits until a member of a pool has room."""
        return bool(self._pool(pool).waiting)

    def members(self, pool: str) -> list[Member]:
        """Return the members of a pool."""
        return self._pool(pool).members

    def loads(self, pool: str) -> dict[str, int]:
        """Return how many frames each member of a pool has before it, by the node's name."""
        return {member.name: member.load for member in self.members(pool)}

    def find(self, key: int) -> Parcel | None:
        """Return the parcel that holds a number, if it is not yet acknowledged."""
        return self._parcels.get(key)

    def announce(self, pool: str, name: str, parts: list[Buffer]) -> None:
        """Send a message to every member of a pool, and to each that joins later."""
        self._pool(pool).announce(name, parts)

    def forget(self, pool: str, name: str) -> None:
        """Announce a message to newcomers no more."""
        self._pool(pool).forget(name)

    def send(self, pool: str, parcel: Parcel) -> None:
        """Take charge of a parcel; it leaves as soon as a member has room.

        What is on disk already, as after a recording was read again, goes nowhere.
        """
        parcel.on_its_way = {key for key in parcel.keys if key >= self._upto}
        parcel.pool = pool
        if not parcel.on_its_way:
            return
        for key in parcel.on_its_way:
            self._parcels[key] = parcel
        members = self._pool(pool)
        members.waiting.append(parcel)
        members.dispatch()

    def received(self, keys: Iterable[int]) -> None:
        """Note numbers that reached the far end: their worker is free for others."""
        for key in keys:
            parcel = self._parcels.get(key)
            if parcel is not None and not parcel.final:
                parcel.arrived(key, self._clock())

    def committed(self, upto: int) -> None:
        """Forget every number below `upto`: the far end has it on disk."""
        if upto <= self._upto:
            return
        # Numbers jump when a live ingest node was restarted: walk whichever is shorter.
        if upto - self._upto <= 2 * len(self._parcels) + 64:
            keys: Iterable[int] = range(self._upto, upto)
        else:
            keys = [key for key in self._parcels if key < upto]
        for key in keys:
            parcel = self._parcels.pop(key, None)
            if parcel is not None:
                parcel.arrived(key, self._clock())
        self._upto = upto

    def far_end_changed(self) -> None:
        """Take back that parcels arrived: they did, at a sink that is no more.

        A member that lives brings them again, or sees to it that they are, for it keeps what it
        passed on until that is on disk. What a member had that is gone may have been passed on as
        well: it is sent again if the new sink does not have it soon.
        """
        now = self._clock()
        self._orphans_due = now + _GRACE_S
        waiting = self._waiting_ids()
        for key, parcel in self._parcels.items():
            if parcel.final or key in parcel.on_its_way:
                continue
            if id(parcel) in waiting:
                parcel.on_its_way.add(key)
            else:
                parcel.arrived_in_vain(key, now)

    def pump(self) -> None:
        """Take in members that joined or left, and send what can be sent."""
        while True:
            try:
                event = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._on_membership(event)
        now = self._clock()
        if self._timeout is not None and now >= self._next_check:
            self._next_check = now + min(1.0, self._timeout / 4)
            self._retry_overdue(now - self._timeout)
        if now >= self._orphans_due:
            self._orphans_due = math.inf
            self._retry_orphans()
        for pool in self._pools.values():
            pool.dispatch()

    def close(self) -> None:
        """Close the socket at once; nothing is waited for."""
        self.socket.close(linger=0)

    def _pool(self, name: str) -> Pool:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = Pool(
                self._transmit,
                self._prefetch,
                self._clock,
                prefetch_bytes=self._prefetch_bytes,
                near=self._near,
            )
        return pool

    def _on_membership(self, event: bytes) -> None:
        joins, topic = event[:1] == b"\x01", event[1:]
        if topic.count(b"/") != 3 or not self._is_known(topic):
            return  # a stranger's subscription is no membership
        pool = self._pool(topic.split(b"/")[0].decode("utf-8", "replace"))
        if joins:
            pool.join(topic)
        else:
            member = pool.leave(topic)
            if member is None:
                return
            self._retry(pool, list(member.parcels.values()))

    def _is_known(self, topic: bytes) -> bool:
        """Tell whether a node of this run made a topic."""
        keys = keys_of(self.socket)
        return keys is None or keys.has_signed(topic)

    def _retry_overdue(self, before: float) -> None:
        lost = [parcel for parcel in self._under_way() if parcel.last_sign < before]
        for parcel in lost:
            if parcel.member is not None:
                parcel.member.late = True
        self._retry_all(lost)

    def _retry_orphans(self) -> None:
        """Send again what no living member answers for; it arrived once, so it kills nobody."""
        orphans = [parcel for parcel in self._under_way() if parcel.member is None]
        for parcel in orphans:
            parcel.tries = 0
        self._retry_all(orphans)

    def _under_way(self) -> list[Parcel]:
        """Return the parcels that left for a worker and have not all reached the far end."""
        waiting = self._waiting_ids()
        left = {id(parcel): parcel for parcel in self._parcels.values() if parcel.on_its_way}
        return [
            parcel
            for identity, parcel in left.items()
            if identity not in waiting and not parcel.final
        ]

    def _waiting_ids(self) -> set[int]:
        return {id(parcel) for pool in self._pools.values() for parcel in pool.waiting}

    def _retry_all(self, parcels: list[Parcel]) -> None:
        for name, pool in self._pools.items():
            self._retry(pool, [parcel for parcel in parcels if parcel.pool == name])

    def _retry(self, pool: Pool, parcels: list[Parcel]) -> None:
        """Put parcels that were lost in front of the others, frame by frame."""
        for parcel in reversed(parcels):
            parcel.release()
            tries = parcel.tries
            left = [parcel]
            split = parcel.split if len(parcel.keys) > 1 else None
            if split is not None:
                left = [one for one in split() if one.keys[0] in parcel.on_its_way]
            for one in reversed(left):
                one.tries = tries
                one.pool = parcel.pool
                one.on_its_way = {key for key in one.keys if key in parcel.on_its_way}
                for key in one.keys:
                    if key in self._parcels:
                        self._parcels[key] = one
                if tries >= self._max_tries and not parcel.final:
                    self._fail(one)
                else:
                    self.redelivered += len(one.on_its_way)
                    pool.waiting.appendleft(one)
            if split is not None:
                parcel.on_its_way.clear()  # those it was split into answer for them

    def _fail(self, parcel: Parcel) -> None:
        for key in parcel.keys:
            self._parcels.pop(key, None)
        if self._on_failed is not None:
            self._on_failed(parcel)

    def _transmit(self, topic: bytes, parts: list[Buffer]) -> None:
        # Without a peer XPUB drops the message; the unsubscription that follows sends it again.
        *first, last = map(as_part, (topic, *parts))
        for part in first:
            self.socket.send(part, _MORE, copy=False)
        self.socket.send(last, copy=False)
