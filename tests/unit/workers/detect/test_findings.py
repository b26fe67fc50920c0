"""What a detector worker tells of what it found."""

import json

import numpy as np

from workers.detect.findings import Findings
from workers.detect.image import image_of


def test_values_that_look_like_gaps_are_told_of_pixels_that_nothing_masks():
    pixels = np.random.default_rng(1).poisson(300, (64, 64)).astype(np.uint32)
    pixels[:, 10:12] = 0
    pixels[:, 30:32] = 4_000_000_000
    masked = np.zeros(pixels.shape, bool)
    findings = Findings()
    for frame in range(2):
        findings.note("s", frame, None, np.zeros(3, np.int32), image_of(pixels, masked))
    masked[:, 10:12] = masked[:, 30:32] = True
    findings.note("marked", 0, None, np.zeros(3, np.int32), image_of(pixels, masked))
    told = {name: json.loads(text) for name, text in findings.info().items()}
    assert told["found/s"]["gaps"] == [[0.0, 128], [4e9, 128]]
    assert told["found/marked"]["gaps"] == []
    assert told["found/marked"]["masked"] == 256


def test_all_pixels_are_looked_at_first_and_where_there_are_no_peaks():
    image = image_of(np.full((8, 8), 7, np.uint16))
    some, none = np.zeros(3, np.int32), np.zeros(0, np.int32)
    findings = Findings()
    assert findings.looks_at("s", 5)
    findings.note("s", 5, None, some, image)
    assert not findings.looks_at("s", 16)
    findings.note("s", 16, None, none, image)
    assert json.loads(findings.info()["found/s"])["brightest"] is None
    assert not findings.looks_at("s", 17)
    assert findings.looks_at("s", 32)
    findings.note("s", 32, None, none, image)
    assert json.loads(findings.info()["found/s"])["brightest"] == 7.0
