"""Prints what Grafana's own models do not know of dashboards, as JSON; words: their files."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(ours, theirs, where):
    """Yield where something that was said is not there, or is something else."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from lost(value, theirs[key], f"{where}.{key}")
            else:
                yield f"{where}.{key}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for mine, other in zip(ours, theirs, strict=True):
            yield from lost(mine, other, where)
    elif ours != theirs:
        yield where


register_default_plugins()
found = {}
for file in map(Path, sys.argv[1:]):
    said = json.loads(file.read_text())
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(said)))
    found[file.stem] = {
        "lost": sorted(set(lost(said, read, ""))),
        "panels": [type(panel).__name__ for panel in Dashboard.from_json(said).panels],
    }
print(json.dumps(found))
