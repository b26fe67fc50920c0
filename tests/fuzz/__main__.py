"""Damages examples for as long as one likes: ``python -m tests.fuzz SECONDS [TARGET ...]``.

Each target has so many seconds of the processor, or a million inputs, whichever ends first. An
input that a parser does wrong is written to ``fuzz-found/``, and what was raised to the console. It
is read again by ``python -m tests.fuzz again FILE ...``; once mended, it belongs into
``tests/fuzz/inputs``.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.mutate import damage, damage_messages
from tests.fuzz.targets import TARGETS, Target

FOUND = Path("fuzz-found")
MEMORY_BYTES = 4 << 30
"""More than all libraries and the largest frame take, less than what a damaged size asks for."""
INPUT_S = 5.0
ENOUGH = 1_000_000
"""Inputs of one target."""


class LateError(BaseException):
    """A parser took too long; no exception that a parser catches with what it calls."""


def main(words: list[str]) -> int:
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _too_late)
    if words[:1] == ["again"]:
        return sum(_is_wrong(*_read(Path(word))) for word in words[1:]) > 0
    seconds, names = float(words[0] if words else 600), words[1:] or list(TARGETS)
    print(f"{'target':<10} {'inputs':>9} {'wrongs':>6} {'s':>5} {'MiB':>5}")
    return sum(_search(seconds, name) for name in names) > 0


def _search(seconds: float, name: str) -> int:
    """Try one target; return how many wrongs of different kinds were found."""
    target = TARGETS[name]
    change = damage_messages if target.is_stream else damage
    examples = target.seeds()
    seed = time.time_ns()
    rng, tried, kinds = random.Random(seed), 0, set[str]()
    begun = time.process_time()
    while (spent := time.process_time() - begun) < seconds and tried < ENOUGH:
        data: Any = change(rng.choice(examples), rng, examples)
        tried += 1
        wrong = _wrong(target, data)
        if wrong and (kind := wrong.partition(": ")[0]) not in kinds:
            kinds.add(kind)
            print(f"{name}: {wrong}\n  {_keep(name, data, len(kinds))}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{name:<10} {tried:>9,} {len(kinds):>6} {spent:>5.0f} {peak:>5}", flush=True)
    return len(kinds)


def _wrong(target: Target, data: Any) -> str:
    """Return what a parser did wrong, where and why; empty when it did nothing wrong."""
    try:
        with _limit(INPUT_S):
            target.run(data)
    except (Exception, LateError) as error:
        calls = traceback.extract_tb(error.__traceback__)
        last = [call for call in calls if "site-packages" not in call.filename][-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return f"{type(error).__name__} at {where}: {str(error)[:200]!r}"
    return ""


def _is_wrong(target: Target, data: Any) -> bool:
    kind = _wrong(target, data)
    print(kind or "read or refused")
    return bool(kind)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_late(number: int, frame: FrameType | None) -> None:
    raise LateError(f"not done after {INPUT_S:g} s")


def _keep(name: str, data: Any, number: int) -> Path:
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}-{time.time_ns()}-{number}"
    if isinstance(data, bytes):
        path = path.with_suffix(".bin")
        path.write_bytes(data)
        return path
    path = path.with_suffix(".json")
    path.write_text(
        json.dumps([[base64.b64encode(part).decode() for part in parts] for parts in data])
    )
    return path


def _read(path: Path) -> tuple[Target, Any]:
    target = TARGETS[path.name.partition("-")[0]]
    if path.suffix == ".json":
        return target, [
            [base64.b64decode(part) for part in parts] for parts in json.loads(path.read_text())
        ]
    return target, path.read_bytes()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
