"""A cluster of Spark on this machine: a master and workers, each a process of its own."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyspark

SPARK = Path(pyspark.__file__).parent
MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
EXECUTOR = b"CoarseGrainedExecutorBackend"
#: What a cluster may take to do something.
PATIENCE = 120.0


def until(what: str, done: Callable[[], Any], job: subprocess.Popen[str] | None = None) -> Any:
    """Waits for something, which is told if it does not come, or if the job ended before."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if job is not None and job.poll() is not None:
            raise AssertionError(f"waited for {what}: {job.communicate()}")
        found = done()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE:.0f} s: {what}")


class Cluster:
    """A master and two workers on the loopback interface, which end with it."""

    def __init__(self, folder: Path, python: str, path: str) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": path,
            "PYSPARK_PYTHON": python,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_NO_DAEMONIZE": "1",
            # Who lost an executor is not left out for it: there are but two.
            "SPARK_WORKER_OPTS": "-Dspark.worker.timeout=10",
            "SPARK_MASTER_OPTS": "-Dspark.worker.timeout=10 -Dspark.deploy.maxExecutorRetries=20",
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start("master", MASTER, "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        self.url = until("the master", lambda: self.said("master", r"(spark://127\.0\.0\.1:\d+)"))
        self.workers = [self.worker(n) for n in (1, 2)]

    def worker(self, number: int) -> subprocess.Popen[bytes]:
        name = f"worker{number}"
        work = self.folder / name
        worker = self.start(
            name, WORKER, "--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "1g",
            "--work-dir", str(work), self.url,
        )  # fmt: skip
        until(name, lambda: self.said(name, "(Successfully registered)"))
        return worker

    def start(self, name: str, kind: str, *args: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("wb")
        command = [str(SPARK / "bin/spark-class"), kind, *args]
        # A group of its own, so that what it starts ends with it.
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=self.environment, start_new_session=True
        )
        self.processes.append(process)
        return process

    def said(self, name: str, what: str) -> str | None:
        found = re.search(what, (self.folder / f"{name}.log").read_text())
        return found[1] if found else None

    def executors(self, worker: subprocess.Popen[bytes]) -> list[int]:
        """The executors that a worker has now."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if session == worker.pid and EXECUTOR in command and b"java" in command.split(b"\0")[0]:
                found.append(int(entry.name))
        return found

    def close(self) -> None:
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
