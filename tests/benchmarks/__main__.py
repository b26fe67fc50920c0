"""All benchmark tables, one after the other: ``make bench``."""

from __future__ import annotations

from tests.benchmarks import (
    dashboard,
    drawing,
    finder,
    fits,
    inference,
    long_runs,
    pipeline,
    security,
    sources,
    thresholds,
)

for benchmark in (
    finder,
    inference,
    fits,
    pipeline,
    security,
    dashboard,
    drawing,
    sources,
    thresholds,
    long_runs,
):
    benchmark.main()
