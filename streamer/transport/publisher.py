"""The one pattern of every hop: a publisher that knows its members, and subscribers that are them.

A subscriber subscribes to a topic of its own, ``pool/name/unique``. XPUB delivers that subscription
to the publisher, for which it is a membership: each parcel goes to exactly one member of its pool,
the one with the fewest frames before it. When a member's connection closes, its unsubscription
arrives and what it had is sent again. A parcel is kept until all its numbers are acknowledged by
the far end of the pipeline, so a publisher needs no answer from the next hop.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import zmq

from streamer.frames.events import Buffer
from streamer.transport.sockets import FAR_END, bind, harden

__all__ = ["Member", "Parcel", "Publisher"]


@dataclass(slots=True, kw_only=True)
class Parcel:
    """A message on its way, with the frames it answers for."""

    keys: Sequence[int]
    """Numbers that the far end acknowledges one by one."""
    parts: list[Buffer]
    split: Callable[[], list[Parcel]] | None = None
    """Makes one parcel of each number, so that a bad frame does not take others with it."""
    tries: int = 0
    member: Member | None = None
    """Who has it now; None while it waits or once all of it has reached the far end."""
    sent: float = 0.0
    on_its_way: set[int] = field(default_factory=set)
    """Keys that have not reached the far end."""
    pool: str = ""
    """Pool it goes to."""

    @property
    def final(self) -> bool:
        """True when the far end itself is whom it goes to."""
        return self.pool == FAR_END


@dataclass(slots=True, eq=False)
class Member:
    """A subscriber that takes parcels."""

    topic: bytes
    parcels: dict[int, Parcel] = field(default_factory=dict)
    """What it was sent and has not passed on to the far end, by the first key."""
    load: int = 0
    """Frames in those parcels."""
    suspects: int = 0
    """Parcels among them that were sent twice before."""
    progress: float = 0.0
    """When something of what it had last reached the far end."""
    late: bool = False
    """True while it has brought nothing for too long: others are asked first."""

    @property
    def name(self) -> str:
        """Name of the node behind it."""
        return self.topic.split(b"/")[1].decode()


@dataclass(slots=True)
class _Pool:
    members: dict[bytes, Member] = field(default_factory=dict)
    waiting: deque[Parcel] = field(default_factory=deque)
    welcome: OrderedDict[str, list[Buffer]] = field(default_factory=OrderedDict)


class Publisher:
    """Sends each parcel to one member of a pool and keeps it until it is acknowledged.

    Parameters
    ----------
    context
        ZeroMQ context.
    address
        Where to bind; ``tcp://127.0.0.1:*`` lets the system choose a port.
    prefetch
        Frames that one member may have before it.
    ack_timeout_s
        A parcel is sent again when its member has brought nothing to the far end for so long;
        None: never.
    max_tries
        A parcel sent this often in vain is handed to `on_failed`.
    on_failed
        Called with such a parcel, which is then forgotten.
    heartbeat_ms
        Interval of ZMTP heartbeats.

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
        prefetch: int = 128,
        ack_timeout_s: float | None = None,
        max_tries: int = 3,
        on_failed: Callable[[Parcel], None] | None = None,
        heartbeat_ms: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.socket = context.socket(zmq.XPUB)
        harden(self.socket, heartbeat_ms)
        self.socket.set(zmq.SNDHWM, 0)
        self.address = bind(self.socket, address)
        self.redelivered = 0
        self._prefetch = prefetch
        self._timeout = ack_timeout_s
        self._max_tries = max_tries
        self._on_failed = on_failed
        self._clock = clock
        self._pools: dict[str, _Pool] = {}
        self._parcels: dict[int, Parcel] = {}
        self._upto = 0
        self._next_check = 0.0

    @property
    def outstanding(self) -> int:
        """Numbers not yet acknowledged."""
        return len(self._parcels)

    @property
    def waiting(self) -> int:
        """Numbers for which no member has had room."""
        pools = self._pools.values()
        return sum(len(parcel.on_its_way) for pool in pools for parcel in pool.waiting)

    def members(self, pool: str) -> list[Member]:
        """Return the members of a pool."""
        return list(self._pool(pool).members.values())

    def loads(self, pool: str) -> dict[str, int]:
        """Return how many frames each member of a pool has before it, by the node's name."""
        return {member.name: member.load for member in self.members(pool)}

    def find(self, key: int) -> Parcel | None:
        """Return the parcel that holds a number, if it is not yet acknowledged."""
        return self._parcels.get(key)

    def announce(self, pool: str, name: str, parts: list[Buffer]) -> None:
        """Send a message to every member of a pool, and to each that joins later."""
        members = self._pool(pool)
        members.welcome[name] = parts
        for topic in members.members:
            self._transmit(topic, parts)

    def forget(self, pool: str, name: str) -> None:
        """Announce a message to newcomers no more."""
        self._pool(pool).welcome.pop(name, None)

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
        self._dispatch(members)

    def received(self, keys: Iterable[int]) -> None:
        """Note numbers that reached the far end: their worker is free for others."""
        for key in keys:
            parcel = self._parcels.get(key)
            if parcel is not None and not parcel.final:
                self._arrived(parcel, key)

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
                self._arrived(parcel, key)
        self._upto = upto

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
        for pool in self._pools.values():
            self._dispatch(pool)

    def close(self) -> None:
        """Close the socket at once; nothing is waited for."""
        self.socket.close(linger=0)

    def _pool(self, name: str) -> _Pool:
        return self._pools.setdefault(name, _Pool())

    def _on_membership(self, event: bytes) -> None:
        joins, topic = event[:1] == b"\x01", event[1:]
        if topic.count(b"/") != 2:
            return  # a stranger's subscription is no membership
        pool = self._pool(topic.split(b"/")[0].decode())
        if joins:
            pool.members.setdefault(topic, Member(topic))
            for parts in pool.welcome.values():
                self._transmit(topic, parts)
        else:
            member = pool.members.pop(topic, None)
            if member is None:
                return
            self._retry(pool, list(member.parcels.values()))
            if pool is self._pools.get(FAR_END):
                self._on_far_end_lost()

    def _on_far_end_lost(self) -> None:
        """Take back that parcels arrived: they did, at a sink that is no more.

        The node before the sink sends its results again; should that node be gone too, the
        time-out that starts here does.
        """
        now = self._clock()
        for key, parcel in self._parcels.items():
            if parcel.tries and not parcel.final and key not in parcel.on_its_way:
                parcel.on_its_way.add(key)
                parcel.sent = now
                if parcel.member is not None:
                    parcel.member.load += 1

    def _retry_overdue(self, before: float) -> None:
        waiting = {id(parcel) for pool in self._pools.values() for parcel in pool.waiting}
        overdue = {
            id(parcel): parcel
            for parcel in self._parcels.values()
            if parcel.on_its_way and not parcel.final and _last_sign(parcel) < before
        }
        lost = [parcel for identity, parcel in overdue.items() if identity not in waiting]
        for parcel in lost:
            if parcel.member is not None:
                parcel.member.late = True
        for name, pool in self._pools.items():
            self._retry(pool, [parcel for parcel in lost if parcel.pool == name])

    def _arrived(self, parcel: Parcel, key: int) -> None:
        if key not in parcel.on_its_way:
            return
        parcel.on_its_way.discard(key)
        if parcel.member is not None:
            parcel.member.load -= 1
            parcel.member.progress = self._clock()
            parcel.member.late = False
            if not parcel.on_its_way:
                self._release(parcel)

    def _retry(self, pool: _Pool, parcels: list[Parcel]) -> None:
        """Put parcels that were lost in front of the others, frame by frame."""
        for parcel in reversed(parcels):
            self._release(parcel)
            tries = parcel.tries
            left = [parcel]
            if parcel.split is not None and len(parcel.keys) > 1:
                left = [one for one in parcel.split() if one.keys[0] in parcel.on_its_way]
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

    def _fail(self, parcel: Parcel) -> None:
        for key in parcel.keys:
            self._parcels.pop(key, None)
        if self._on_failed is not None:
            self._on_failed(parcel)

    def _release(self, parcel: Parcel) -> None:
        member, parcel.member = parcel.member, None
        if member is not None:
            member.parcels.pop(parcel.keys[0], None)
            member.load -= len(parcel.on_its_way)
            member.suspects -= parcel.tries > 2

    def _dispatch(self, pool: _Pool) -> None:
        now = self._clock()
        while pool.waiting:
            parcel = pool.waiting[0]
            # What was lost twice may be what killed its workers: one such parcel to a member,
            # so that its neighbours are not counted as lost with it a third time.
            suspect = parcel.tries >= 2
            member = min(
                (m for m in pool.members.values() if not (suspect and m.suspects)),
                key=lambda m: (m.late, m.load),
                default=None,
            )
            if member is None:
                return
            if member.load >= self._prefetch and not parcel.final:
                return
            pool.waiting.popleft()
            if not parcel.on_its_way:
                continue  # it arrived by another way while it waited
            parcel.tries += 1
            parcel.member = member
            parcel.sent = now
            member.parcels[parcel.keys[0]] = parcel
            member.load += len(parcel.on_its_way)
            member.suspects += suspect
            self._transmit(member.topic, parcel.parts)

    def _transmit(self, topic: bytes, parts: list[Buffer]) -> None:
        # Without a peer XPUB drops the message; the unsubscription that follows sends it again.
        self.socket.send_multipart([topic, *parts], copy=False)


def _last_sign(parcel: Parcel) -> float:
    """Return when there was last a sign that a parcel is being worked on."""
    return parcel.sent if parcel.member is None else max(parcel.sent, parcel.member.progress)
