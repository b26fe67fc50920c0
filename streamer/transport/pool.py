"""Who takes what a publisher sends: parcels, the members of a pool, and what waits for them."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streamer.frames.events import Buffer
from streamer.transport.sockets import FAR_END

__all__ = ["Member", "Parcel", "Pool"]

_SUSPECT_TRIES = 2
"""What was lost so often may be what killed its workers."""
_KEEPS_UP_S = 0.5
"""A member that has had something for longer does not keep up: the far end says five times a second
what has reached it."""


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
    carrier: Member | None = None
    """Who had it last; while it lives it keeps what came of it until that is on disk."""
    sent: float = 0.0
    on_its_way: set[int] = field(default_factory=set)
    """Keys that have not reached the far end."""
    pool: str = ""
    """Pool it goes to."""
    n_bytes: int = field(init=False)
    """Size of the message."""

    def __post_init__(self) -> None:
        self.n_bytes = sum(memoryview(part).nbytes for part in self.parts)

    @property
    def final(self) -> bool:
        """True when the far end itself is whom it goes to."""
        return self.pool == FAR_END

    @property
    def suspect(self) -> bool:
        """True where it was lost so often that it may be what kills its workers."""
        lost = self.tries - (self.member is not None)  # who has it has not lost it
        return lost >= _SUSPECT_TRIES and not self.final

    @property
    def last_sign(self) -> float:
        """When there was last a sign that it is being worked on."""
        return self.sent if self.member is None else max(self.sent, self.member.progress)

    def arrived(self, key: int, now: float) -> None:
        """Note that one of its numbers reached the far end."""
        if key not in self.on_its_way:
            return
        self.on_its_way.discard(key)
        if self.member is not None:
            self.member.load -= 1
            self.member.progress = now
            self.member.late = False
            if not self.on_its_way:
                self.release()

    def arrived_in_vain(self, key: int, now: float) -> None:
        """Take back that a number reached the far end: what it reached is no more.

        Who had it last answers for it again; if that one is gone, nobody does.
        """
        if self.member is None and self.carrier is not None and not self.carrier.gone:
            self.carrier.take(self)
        self.on_its_way.add(key)
        self.sent = now
        if self.member is not None:
            self.member.load += 1

    def release(self) -> None:
        """Take it from the member that has it, if one has."""
        member = self.member
        if member is not None:
            if member.parcels.pop(id(self), None) is not None:
                member.n_bytes -= self.n_bytes
            member.load -= len(self.on_its_way)
            member.suspects -= self.suspect
            self.member = None


@dataclass(slots=True, eq=False)
class Member:
    """A subscriber that takes parcels."""

    topic: bytes
    parcels: dict[int, Parcel] = field(default_factory=dict)
    """What it was sent and has not passed on to the far end, by identity."""
    load: int = 0
    """Frames in those parcels."""
    n_bytes: int = 0
    """Bytes of those parcels."""
    suspects: int = 0
    """Parcels among them that were lost twice before; nothing travels with one."""
    progress: float = 0.0
    """When something of what it had last reached the far end."""
    late: bool = False
    """True while it has brought nothing for too long: others are asked first."""
    gone: bool = False
    """True once it has left."""
    near: bool = False
    """True where it comes before others, being on the host of the publisher."""

    @property
    def name(self) -> str:
        """Name of the node behind it."""
        return self.topic.split(b"/")[1].decode("utf-8", "replace")

    def keeps_up(self, now: float) -> bool:
        """Tell whether what it has had for the longest is with it for a short time only."""
        oldest = next(iter(self.parcels.values()), None)
        return oldest is None or now - oldest.sent < _KEEPS_UP_S

    def take(self, parcel: Parcel) -> None:
        """Answer for a parcel."""
        parcel.member = parcel.carrier = self
        self.parcels[id(parcel)] = parcel
        self.load += len(parcel.on_its_way)
        self.n_bytes += parcel.n_bytes
        self.suspects += parcel.suspect


class Pool:
    """Members that share the work, and the parcels for which none of them has had room.

    Parameters
    ----------
    transmit
        Sends the parts of a message to the member with a topic.
    prefetch
        Frames that one member may have before it.
    clock
        Returns a monotonic time in seconds.
    prefetch_bytes
        Bytes of messages that one member may have before it, and one message more.
    near
        Host whose members come first, as long as they keep up; empty: none do.
    """

    def __init__(
        self,
        transmit: Callable[[bytes, list[Buffer]], None],
        prefetch: int,
        clock: Callable[[], float],
        *,
        prefetch_bytes: float = math.inf,
        near: str = "",
    ) -> None:
        self.waiting: deque[Parcel] = deque()
        """Parcels that no member has, those first that go first."""
        self._transmit = transmit
        self._prefetch, self._prefetch_bytes = prefetch, prefetch_bytes
        self._clock = clock
        self._near = near
        self._members: dict[bytes, Member] = {}
        self._welcome: OrderedDict[str, list[Buffer]] = OrderedDict()

    @property
    def members(self) -> list[Member]:
        """Who is there."""
        return list(self._members.values())

    def join(self, topic: bytes) -> None:
        """Let a member in and tell it what was announced."""
        near = bool(self._near) and topic.split(b"/")[2] == self._near.encode()
        self._members.setdefault(topic, Member(topic, near=near))
        for parts in self._welcome.values():
            self._transmit(topic, parts)

    def leave(self, topic: bytes) -> Member | None:
        """Let a member go; None if there is no such member."""
        member = self._members.pop(topic, None)
        if member is not None:
            member.gone = True
        return member

    def announce(self, name: str, parts: list[Buffer]) -> None:
        """Send a message to every member, and to each that joins later."""
        self._welcome[name] = parts
        for topic in self._members:
            self._transmit(topic, parts)

    def forget(self, name: str) -> None:
        """Announce a message to newcomers no more."""
        self._welcome.pop(name, None)

    def dispatch(self) -> None:
        """Send what waits, as long as there is a member with room."""
        now = self._clock()
        while self.waiting:
            parcel = self.waiting[0]
            # A suspect has its member for itself: an innocent one beside what kills its worker, or
            # before it, would be counted as lost a third time.
            suspect = parcel.suspect
            member = min(
                (m for m in self._members.values() if not m.suspects and not (suspect and m.load)),
                key=lambda m: (m.late, self._is_full(m), not (m.near and m.keeps_up(now)), m.load),
                default=None,
            )
            if member is None:
                return
            if self._is_full(member) and not parcel.final:
                return
            self.waiting.popleft()
            if not parcel.on_its_way:
                continue  # it arrived by another way while it waited
            parcel.tries += 1
            parcel.sent = now
            member.take(parcel)
            self._transmit(member.topic, parcel.parts)

    def _is_full(self, member: Member) -> bool:
        return member.load >= self._prefetch or member.n_bytes >= self._prefetch_bytes
