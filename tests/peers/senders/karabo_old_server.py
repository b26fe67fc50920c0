"""Serve the simulated trains of an early karabo-bridge, whose Python runs this.

Its server still speaks version 2.1 of the protocol, and pickles when it is asked to.
"""

import sys

from karabo_bridge.simulation import ServeInThread

port, protocol, serialisation = sys.argv[1:]
server = ServeInThread(
    f"tcp://127.0.0.1:{port}", serialisation, protocol, detector="AGIPDModule", corrected=False
)
server.start()
print("ready", flush=True)
server.join()
