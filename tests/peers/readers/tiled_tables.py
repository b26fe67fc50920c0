"""Prints what a Tiled server tells of a run's exports, as JSON.

Words: the server's address, and the name under which it has the NeXus file.
"""

import json
import sys

from tiled.client import from_uri

served = from_uri(sys.argv[1])
reflections = served[sys.argv[2]]["entry"]["peaks"]["reflections"]
peaks = served["parquet"]["peaks"].read()
print(
    json.dumps(
        {
            "tables": sorted(served["parquet"]),
            "parquet": {name: peaks[name].tolist() for name in ("row", "col", "frame", "series")},
            "nexus": {name: reflections[name].read().tolist() for name in ("d", "observed_px_y")},
            "units": dict(reflections["d"].metadata)["units"],
        }
    )
)
