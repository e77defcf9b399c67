"""On a cluster: a master and two workers, some of which are killed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest
from cluster import Cluster, until
from conftest import exact


@pytest.fixture(scope="module")
def cluster(dnsalt: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Workers that find no dnsalt on PATH."""
    folders = [folder for folder in os.environ["PATH"].split(":") if not (Path(folder) / "dnsalt").exists()]
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), sys.executable, ":".join(folders))
    try:
        yield cluster
    finally:
        cluster.close()


def start(cluster: Cluster, extract: Path, out: Path, program: Path | str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "dnsalt_fleet.cli", "judge", "--master", cluster.url, "--partitions", "6",
        "--dnsalt", str(program), "--conf", "spark.executor.memory=600m",
        # Who is killed is missed soon.
        "--conf", "spark.network.timeout=20s", "--conf", "spark.network.timeoutInterval=5s",
        "--conf", "spark.executor.heartbeatInterval=2s",
        str(extract), "--out", str(out),
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cluster.environment | {"PATH": os.environ["PATH"]}
    )


@contextmanager
def started(cluster: Cluster, extract: Path, out: Path, program: Path | str) -> Iterator[subprocess.Popen[str]]:
    """A job that does not outlive its test."""
    job = start(cluster, extract, out, program)
    try:
        yield job
    finally:
        job.kill()
        job.wait()


def ends_well(job: subprocess.Popen[str]) -> None:
    told, error = job.communicate(timeout=240)
    assert job.returncode == 1, error
    assert told.startswith("48 resolvers: ")


def wrapped(folder: Path, dnsalt: str, script: str) -> Path:
    """A dnsalt that does something first: it says when it judges, and is slow the first time."""
    path = folder / "wrapped"
    # Only on workers, whose executors have a folder of the application for their own.
    path.write_text(f'#!/bin/sh\ncase $PWD in\n*/app-*)\n{script} ;;\nesac\nexec {dnsalt} "$@"\n')
    path.chmod(0o755)
    return path


def is_right(out: Path, expected: dict[str, Any]) -> None:
    rows = pyarrow.dataset.dataset(out / "verdicts.parquet", format="parquet").to_table().to_pylist()
    assert {row["resolver"]: exact(row["judgement"]) for row in rows} == expected
    assert len(rows) == len(expected)


#: In the first stage rows are read and handed round, in the second they are judged, in the last weighed.
STAGES = {
    "reads": None,
    "judges": '[ "$*" = "judge --arrow" ]',
    "weighs": '[ "$3" = --control ]',
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_executor_is_killed(
    cluster: Cluster, extract: Path, dnsalt: str, capture: Path, checked: Any, tmp_path: Path, stage: str
) -> None:
    condition, began = STAGES[stage], tmp_path / "began"
    program: Path | str = dnsalt
    if condition is not None:
        script = f"if {condition} && mkdir {began} 2> /dev/null; then echo $PPID > {began}/by; sleep 3; fi"
        program = wrapped(tmp_path, dnsalt, script)
    with started(cluster, extract, tmp_path / "out", program) as job:
        if condition is None:
            victim = until("an executor", lambda: cluster.executors(cluster.workers[0]), job)[0]
        else:
            by = until("the stage", lambda: (began / "by").exists() and (began / "by").read_text().strip(), job)
            victim = executor_of(int(by), cluster)
        os.kill(victim, signal.SIGKILL)
        ends_well(job)
    is_right(tmp_path / "out", checked(capture))


def executor_of(pid: int, cluster: Cluster) -> int:
    """The executor that a process of Python works for."""
    executors = [pid for worker in cluster.workers for pid in cluster.executors(worker)]
    while pid > 1 and pid not in executors:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert pid in executors
    return pid


def test_a_worker_is_killed(
    cluster: Cluster, extract: Path, dnsalt: str, capture: Path, checked: Any, tmp_path: Path
) -> None:
    began = tmp_path / "began"
    script = f'if [ "$*" = "judge --arrow" ] && mkdir {began} 2> /dev/null; then sleep 3; fi'
    try:
        with started(cluster, extract, tmp_path / "out", wrapped(tmp_path, dnsalt, script)) as job:
            until("the judge", began.exists, job)
            # With all that it has started.
            os.killpg(cluster.workers[1].pid, signal.SIGKILL)
            ends_well(job)
    finally:
        cluster.workers[1] = cluster.worker(3)
    is_right(tmp_path / "out", checked(capture))


def fails(cluster: Cluster, extract: Path, out: Path, program: Path | str, *more: str) -> str:
    job = start(cluster, extract, out, program)
    _, error = job.communicate(timeout=240)
    assert job.returncode == 3, error
    said = [line for line in error.splitlines() if "incubator modules" not in line]
    assert len(said) == 1 and said[0].startswith("dnsalt-fleet: "), error
    assert not out.exists()
    return said[0]


def test_a_dnsalt_that_fails_is_told_with_resolver_and_partition(
    cluster: Cluster, extract: Path, dnsalt: str, tmp_path: Path
) -> None:
    crash = 'if [ "$*" = "judge --arrow" ]; then head -c 100000 > /dev/null; kill -SEGV $$; fi'
    line = fails(cluster, extract, tmp_path / "out", wrapped(tmp_path, dnsalt, crash))
    told = r"dnsalt was killed by SIGSEGV \(partition \d on .+; the last resolver judged was none, the last given [0-9a-f.:]+\)"
    assert re.search(told, line), line
    failing = 'if [ "$*" = "judge --arrow" ]; then echo "dnsalt: out of luck" >&2; exit 3; fi'
    line = fails(cluster, extract, tmp_path / "out", wrapped(tmp_path, dnsalt, failing))
    assert "dnsalt ended with exit code 3: out of luck (partition " in line, line


def test_workers_without_the_same_dnsalt_are_told(
    cluster: Cluster, extract: Path, dnsalt: str, tmp_path: Path
) -> None:
    other = 'if [ "$1" = --version ]; then echo dnsalt 0.0.1; exit; fi'
    line = fails(cluster, extract, tmp_path / "out", wrapped(tmp_path, dnsalt, other))
    assert "this worker has dnsalt 0.0.1, the driver dnsalt " in line and "partition" in line, line
    # Not sent along, and on no worker's PATH.
    command = [
        sys.executable, "-m", "dnsalt_fleet.cli", "judge", "--master", cluster.url, str(extract),
        "--out", str(tmp_path / "out"), "--conf", "spark.executor.memory=600m",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=cluster.environment | {"PATH": os.environ["PATH"]}, check=False)
    assert done.returncode == 3
    assert "dnsalt cannot be run (dnsalt: No such file or directory) (partition " in done.stderr


