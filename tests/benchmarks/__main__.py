"""All benchmark tables, one after the other: ``make bench``."""

from __future__ import annotations

from tests.benchmarks import (
    dashboard,
    delivery,
    drawing,
    finder,
    fits,
    inference,
    long_runs,
    pipeline,
    security,
    sources,
    thresholds,
    tracks,
)

for benchmark in (
    finder,
    inference,
    fits,
    pipeline,
    security,
    delivery,
    dashboard,
    drawing,
    sources,
    thresholds,
    long_runs,
    tracks,
):
    benchmark.main()
