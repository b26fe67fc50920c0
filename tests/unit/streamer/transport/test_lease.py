"""How long a node may go on."""

import subprocess
import sys
import textwrap

from streamer.transport.lease import Lease, now
from tests.conftest import ROOT


def test_a_lease_runs_until_it_was_renewed_to(tmp_path):
    lease = Lease(tmp_path / "lease")
    assert lease.left_s == 0
    for seconds in (1000.0, 5.0, -3.0):
        lease.renew(now() + seconds)
        assert seconds - 60 < lease.left_s < seconds + 0.01


SCRIPT = """
    import os, sys, threading, time
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from streamer.transport.lease import Lease, now
    from streamer.transport.watch import Watch

    lease = Lease(Path({path!r}))
    lease.renew(now() + 60)
    with Watch(threading.Event(), os.getppid(), lease):
        print("began", flush=True)
        sys.stdin.readline()
        lease.renew(now())
        while True:  # whatever the node is doing
            pass
"""


def test_a_node_that_is_cut_off_ends_whatever_it_does(tmp_path):
    script = textwrap.dedent(SCRIPT).format(root=str(ROOT), path=str(tmp_path / "lease"))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], text=True, **pipes) as node:
        assert node.stdout.readline() == "began\n"
        node.stdin.write("\n")
        node.stdin.flush()
        assert node.wait(30) == 75
        assert "this node is cut off" in node.stderr.read()
