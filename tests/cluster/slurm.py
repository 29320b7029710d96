"""A SLURM of two nodes on this machine, with daemons, key and files of its own; nothing of the system's is touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

#: The programs that make up a SLURM.
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel", "sinfo", "squeue")

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmUser={user}
SlurmdUser={user}
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=1000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Return which of SLURM's programs this machine lacks."""
    return [name for name in PROGRAMS if _find(name) is None]


class SlurmCluster:
    """Starts the daemons on entry and ends them, and no others, on exit.

    Args:
        folder: Where everything goes; its path must be short, since sockets lie in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SlurmCluster:
        folder = self.folder
        for name in ("state", "spool-n1", "spool-n2"):
            (folder / name).mkdir(parents=True)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        conf = _CONF.format(host=socket.gethostname(), folder=folder, user=user, ports=_free_ports(3))
        (folder / "slurm.conf").write_text(conf, encoding="utf-8")
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        places = [f"--{option}={folder}/munge.{ending}" for option, ending in files.items()]
        try:
            self._start("munged", "--foreground", "--force", *places)
            self._wait(lambda: (folder / "munge.socket").exists(), "munged", 20)
            self._start("slurmctld", "-D")
            for node in ("n1", "n2"):
                self._start("slurmd", "-D", "-N", node)
            self._wait(self._is_idle, "two idle nodes", 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def ask(self, program: str, *arguments: str) -> str:
        """Return what one of SLURM's programs prints, nothing where it fails."""
        return subprocess.run(
            [program, *arguments], env=self.environment, capture_output=True, text=True, check=False
        ).stdout.strip()

    def submit(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """Submit a batch job; return its number."""
        done = subprocess.run(
            ["sbatch", "--parsable", *arguments],
            env={**self.environment, **(environment or {})}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """Return what SLURM knows of a job: ``JobState``, ``Restarts``, ``Reason`` and so on."""
        words = self.ask("scontrol", "show", "job", number, "--oneliner").split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def hurry(self, number: str) -> None:
        """Spare a job that was put back into the queue the two minutes that SLURM lets it wait."""
        # Not before its nodes are done with it, nor within the second in which they ended it: SLURM tells its leave to
        # run a job from the one that it took back by the second alone, and calls the job failed.
        if self.job(number).get("JobState") == "PENDING" and self._is_idle():
            time.sleep(2)
            self.ask("scontrol", "update", f"JobId={number}", "StartTime=now")

    def logs(self) -> str:
        """Return the end of what the daemons have written."""
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in sorted(self.folder.glob("slurm*.log")))

    def _is_idle(self) -> bool:
        return self.ask("sinfo", "-h", "-o", "%T %D") == "idle 2"

    def _start(self, program: str, *arguments: str) -> None:
        found = _find(program)
        assert found is not None
        with (self.folder / f"{program}.out").open("ab") as output:
            self._daemons.append(
                subprocess.Popen(
                    [found, *arguments], env=self.environment, stdout=output, stderr=output, start_new_session=True
                )
            )

    def _wait(self, is_there: Callable[[], bool], what: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not is_there():
            if time.monotonic() > end:
                outputs = [file.read_text(errors="replace")[-500:] for file in self.folder.glob("*.out")]
                raise TimeoutError(f"no {what} within {seconds} s: {outputs}")
            time.sleep(0.2)


def _find(program: str) -> str | None:
    # Daemons lie where ordinary users do not look.
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
