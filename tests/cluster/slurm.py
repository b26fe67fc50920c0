"""SLURM on hosts that are network namespaces of this machine, from the distribution's packages."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster.hosts import Hosts, can_be_made

__all__ = ["Slurm", "can_be_started"]

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
_PATIENCE_S = 30.0
_CONFIG = """
ClusterName=bragg
SlurmctldHost={here}({controller})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MpiDefault=none
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def can_be_started() -> str:
    """Say why there can be no SLURM; empty where there can."""
    if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
        return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    return can_be_made()


class Slurm:
    """A SLURM whose controller is on the first host, and that has the others for its jobs.

    Parameters
    ----------
    hosts
        Those it is started on.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._folder = hosts.folder
        config = _CONFIG.format(
            here=socket.gethostname(), controller=hosts.address("a"), folder=self._folder
        )
        cores = os.cpu_count()
        for name in hosts.names[1:]:
            config += f"NodeName={name} NodeAddr={hosts.address(name)} CPUs={cores}\n"
        path = self._folder / "slurm.conf"
        path.write_text(config)
        # None are used, but SLURM looks which there are where a namespace shows none.
        path.with_name("cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        hosts.env["SLURM_CONF"] = str(path)
        hosts.env["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self._start_munge()
        (self._folder / "state").mkdir()
        hosts.run("a", ["slurmctld", "-D", "-i"], "slurmctld.log")
        for name in hosts.names[1:]:
            (self._folder / f"spool-{name}").mkdir()
            self.start(name)
        self.await_hosts()

    def start(self, name: str) -> None:
        """Have a host take jobs, for the first time or after it was killed."""
        self._hosts.run(name, ["slurmd", "-D", "-N", name], f"slurmd-{name}.log")

    def await_hosts(self) -> None:
        """Wait until all hosts have nothing to do."""
        all_idle = f"{len(self._hosts.names) - 1} idle"
        self._await(lambda: self.ask("sinfo", "--noheader", "--format=%D %t").strip() == all_idle)

    def ask(self, *words: str) -> str:
        """Return what one of SLURM's programs says."""
        return self._hosts.ask("a", *words)

    def submit(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a job; what this returns ends with it, and as it does."""
        return self._hosts.run("a", ["sbatch", "--wait", *words], "sbatch.log")

    def _start_munge(self) -> None:
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        socket_ = self._folder / "munge.socket"
        files = {"key-file": key, "socket": socket_}
        files |= {f"{it}-file": self._folder / f"munge.{it}" for it in ("pid", "seed", "log")}
        words = [f"--{option}={path}" for option, path in files.items()]
        self._hosts.run("a", ["munged", "--foreground", "--force", *words], "munged.log")
        self._await(socket_.exists)

    def _await(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.ask("sinfo", "--list-reasons", "--long")
            time.sleep(0.1)
