"""Damaged copies of valid examples, the same for the same seed."""

from __future__ import annotations

import datetime
import json
import random
import re
from collections.abc import Callable
from typing import Any

import cbor2
import msgpack

__all__ = ["Messages", "damage", "damage_messages"]

Messages = list[list[bytes]]
"""The parts of each message of a stream."""

_TOKENS = [
    b"0", b"-1", b"1e309", b"-1e300", b"nan", b"inf", b"null", b"[]", b"{}", b'""', b"\0", b"\xff",
    b"\n", b"\r", b"\\ud800", b"9" * 400, b"18446744073709551616", b"9223372036854775808", b"-0",
    b"9999-12-31 00:00:00", b"0001-01-01T00:00:00+23:59", b"[" * 1200, b"*" * 300, b"2000000000",
]  # fmt: skip
_ODD: list[Any] = [
    None, True, 0, -1, 1 << 31, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63),
    10**300, 10**400, 1e308, float("inf"), float("nan"), 0.5, "", "a" * 5000, "\ud800", "\0/../",
    "<u2", "O", "|V8", "i4,i4", "é" * 300, [], [0], [1 << 40, 1 << 40], [-1, -1], {}, {"a": [{}]},
    [[[[1]]]], [1] * 40, b"\x80\x02", b"", datetime.datetime(1, 1, 1, tzinfo=datetime.UTC),
]  # fmt: skip


def _deep(depth: int = 800) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def damage(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return a copy of a file, damaged in one to four places."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(_BYTES)(data, rng, others)
    return data


def damage_messages(messages: Messages, rng: random.Random, others: list[Messages]) -> Messages:
    """Return a copy of the messages of a stream, one to four of them damaged."""
    messages = [list(parts) for parts in messages]
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(messages)) if messages else 0
        what = rng.random()
        if not messages or what < 0.08:
            messages.insert(at, list(rng.choice(rng.choice(others))))
        elif what < 0.16:
            del messages[at]
        elif what < 0.22:
            rng.shuffle(messages)
        elif messages[at]:
            _damage_part(messages[at], rng)
    return messages or [[b""]]


def _damage_part(parts: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(parts))
    what = rng.random()
    if what < 0.06:
        del parts[at]
        parts[:] = parts or [b""]
    elif what < 0.12:
        parts.insert(at, parts[rng.randrange(len(parts))])
    elif what < 0.4:
        parts[at] = rng.choice(_BYTES)(parts[at], rng, [parts[at]])
    else:
        # The short parts are those that say something.
        at = min(rng.sample(range(len(parts)), min(3, len(parts))), key=lambda i: len(parts[i]))
        parts[at] = _reworded(parts[at], rng)


def _reworded(part: bytes, rng: random.Random) -> bytes:
    """Return a part with another value in it, in the language it is in."""
    for load, dump in _LANGUAGES:
        try:
            content = load(part)
        except Exception:
            continue
        if isinstance(content, dict | list | cbor2.CBORTag):
            odd = _deep() if rng.random() < 0.05 else rng.choice(_ODD)
            try:
                return dump(_with(content, odd, rng))
            except Exception:
                return part
    return rng.choice(_BYTES)(part, rng, [part])


def _with(content: Any, odd: Any, rng: random.Random) -> Any:
    """Return content with another value in one place of it."""
    if isinstance(content, cbor2.CBORTag) and rng.random() < 0.9:
        return cbor2.CBORTag(content.tag, _with(content.value, odd, rng))
    if isinstance(content, dict) and content and rng.random() < 0.95:
        key = rng.choice(list(content))
        if rng.random() < 0.1:
            return {k: v for k, v in content.items() if k != key}
        return content | {key: _with(content[key], odd, rng)}
    if isinstance(content, list) and content and rng.random() < 0.6:
        at = rng.randrange(len(content))
        return [*content[:at], _with(content[at], odd, rng), *content[at + 1 :]]
    return odd


_LANGUAGES: list[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = [
    (json.loads, lambda content: json.dumps(content).encode()),
    (
        lambda part: msgpack.unpackb(part, strict_map_key=False),
        lambda content: msgpack.packb(content, unicode_errors="surrogatepass", datetime=True),
    ),
    (cbor2.loads, cbor2.dumps),
]


def _flip(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _cut(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return data[: rng.randint(0, len(data))]


def _leave_out(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.randint(1, 16) :]


def _repeat(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at : at + rng.randint(1, 64)] * rng.randint(1, 8) + data[at:]


def _insert(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    gone = rng.choice([0, 0, 1, 2, 4, 8])
    return data[:at] + rng.choice(_TOKENS) + data[at + gone :]


def _number(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    size = rng.choice([1, 2, 4, 8])
    value = rng.choice([0, 1, 0x7F, 0x80, (1 << (8 * size)) - 1, (1 << (8 * size - 1))])
    at = rng.randint(0, max(0, min(len(data), 4096) - size))
    number = (value % (1 << (8 * size))).to_bytes(size, rng.choice(["little", "big"]))
    return data[:at] + number + data[at + size :]


def _digits(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    places = [digit.start() for digit in re.finditer(rb"\d", data[:4096])]
    if not places:
        return _flip(data, rng, others)
    at = rng.choice(places)
    return data[:at] + rng.choice(_TOKENS) + data[at + 1 :]


def _splice(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    other = rng.choice(others)
    at = rng.randint(0, min(len(data), len(other)))
    return data[:at] + other[at:]


_BYTES = [_flip, _flip, _cut, _leave_out, _repeat, _insert, _number, _number, _digits, _splice]
