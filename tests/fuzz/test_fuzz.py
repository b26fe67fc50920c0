"""A short, seeded run of each parser on damaged examples; ``make fuzz`` goes on for longer."""

from __future__ import annotations

import base64
import json
import random
import zlib
from pathlib import Path

import pytest

from tests.fuzz.mutate import damage, damage_messages
from tests.fuzz.targets import TARGETS

INPUTS = sorted((Path(__file__).parent / "inputs").iterdir())
SLOW = {"hdf5": 12, "tiff": 25, "edf": 25, "config": 8, "cbf": 40}
"""Inputs of those that take longest; of all others there are more."""


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_what_once_ended_a_node_is_read_or_refused(path):
    target = TARGETS[path.name.partition("-")[0]]
    if path.suffix == ".json":
        target.run([list(map(base64.b64decode, parts)) for parts in json.loads(path.read_text())])
    else:
        target.run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_valid_examples_are_read(name):
    for example in TARGETS[name].seeds():
        TARGETS[name].run(example)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_examples_are_read_or_refused(name):
    target = TARGETS[name]
    examples = target.seeds()
    rng = random.Random(zlib.crc32(name.encode()))
    for _ in range(SLOW.get(name, 60)):
        change = damage_messages if target.is_stream else damage
        target.run(change(rng.choice(examples), rng, examples))
