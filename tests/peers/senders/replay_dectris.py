"""LiberTEM's simulated DECTRIS detector, which replays a dump as it is told on its standard input.

Words: URI of the socket, dump, microseconds from frame to frame (0 sends as fast as it goes). Each
line that comes is ``headers``, ``frames N`` or ``footer``, and is repeated when it was done.
"""

import sys

from libertem_dectris import DectrisSim

uri, dump, dwell_us = sys.argv[1:]
simulated = DectrisSim(uri=uri, filename=dump, dwelltime=int(dwell_us) or None, random_port=False)
print("listening at", simulated.get_uri(), flush=True)
for line in sys.stdin:
    what, *count = line.split()
    if what == "frames":
        simulated.send_frames(*map(int, count))
    else:
        getattr(simulated, f"send_{what}")()
    print("done", line.strip(), flush=True)
