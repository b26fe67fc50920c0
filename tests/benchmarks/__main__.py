"""All benchmark tables, one after the other: ``make bench``."""

from __future__ import annotations

from tests.benchmarks import finder, fits, inference, pipeline

for benchmark in (finder, inference, fits, pipeline):
    benchmark.main()
