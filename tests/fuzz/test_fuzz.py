"""A short, seeded run of each parser on damaged examples; ``make fuzz`` goes on for longer."""

from __future__ import annotations

import base64
import json
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import damage, damage_messages
from tests.fuzz.targets import TARGETS

INPUTS = sorted((Path(__file__).parent / "inputs").iterdir())
SLOW = {
    "hdf5": 60, "tiff": 60, "edf": 60, "config": 12, "cbf": 60, "fabio": 60, "launcher": 40,
    "summary": 30, "live": 20, "geometry": 20, "tracks": 20, "frames": 20, "peaks": 20,
}  # fmt: skip
"""Inputs of those that take longest; of all others there are more."""


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_what_once_ended_a_node_is_read_or_refused(path):
    target = TARGETS[path.name.partition("-")[0]]
    if path.suffix == ".json":
        target.run([list(map(base64.b64decode, parts)) for parts in json.loads(path.read_text())])
    else:
        target.run(path.read_bytes())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cell", b"Time;Ecell/V;I/mA\n2026-01-01 10:00:00;" + b"9" * 140_000 + b";1\n"),
        ("page", b"[" * 60_000),
        ("config", b"{" * 20_000),
        ("poni", b"Detector_config: " + b'{"a":' * 100_000),
        ("npy", b"\x93NUMPY\1\0\x10\x27" + b"(" * 10_000),
    ],
)
def test_what_is_too_large_to_keep_is_read_or_refused(name, data):
    TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_examples_are_read(name):
    for example in TARGETS[name].seeds():
        TARGETS[name].run(example)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_examples_are_read_or_refused(name):
    target = TARGETS[name]
    examples = target.seeds()
    rng = random.Random(zlib.crc32(name.encode()))
    for _ in range(SLOW.get(name, 150)):
        change = damage_messages if target.is_stream else damage
        target.run(change(rng.choice(examples), rng, examples))


STREAMS = [name for name, target in TARGETS.items() if target.is_stream]
PARTS = st.lists(st.binary(max_size=80), min_size=1, max_size=4)


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in STREAMS])
@settings(max_examples=20)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(name, data):
    TARGETS[name].run(data)


@pytest.mark.parametrize("name", STREAMS)
@settings(max_examples=50)
@given(messages=st.lists(PARTS, max_size=4))
def test_any_messages_are_read_or_refused(name, messages):
    TARGETS[name].run(messages)


SAID = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("name", ["dectris1", "stins", "array10"])
@settings(max_examples=50)
@given(data=st.data())
def test_a_message_may_say_anything(name, data):
    """Whatever stands behind the keys that are read, in whatever messages."""
    messages = [list(parts) for parts in TARGETS[name].seeds()[0]]
    parts = data.draw(st.sampled_from(messages))
    at = data.draw(st.sampled_from([i for i, part in enumerate(parts) if part[:1] == b"{"]))
    says = json.loads(parts[at])
    key = data.draw(st.sampled_from(sorted(says)))
    parts[at] = json.dumps(says | {key: data.draw(SAID)}).encode()
    TARGETS[name].run(messages)
