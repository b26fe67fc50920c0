"""Prints what a Tiled server tells of the runs of a sample, as JSON.

Words: the server's address, and the key.
"""

import json
import sys

from tiled.client import from_uri
from tiled.queries import Key

found = from_uri(sys.argv[1], api_key=sys.argv[2]).search(Key("meta.sample") == "NMC811")
print(
    json.dumps(
        [
            {
                "metadata": {key: one.metadata[key] for key in ("meta", "frames")},
                "tables": sorted(one),
                "rows": {name: len(one[name].read()) for name in ("frames", "peaks")},
                "row": one["peaks"].read()["row"].tolist(),
                "unit of d": one["peaks"].metadata["columns"]["d"]["unit"],
            }
            for one in found.values()
        ]
    )
)
