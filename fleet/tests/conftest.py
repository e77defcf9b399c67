"""What the tests share: dnsalt, captures, and extracts of them."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import pytest

# Everything stays on this machine, and the Python of workers is this one.
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="session")
def dnsalt() -> str:
    """The program that is tested, on PATH."""
    found = shutil.which("dnsalt")
    assert found is not None, "dnsalt is not on PATH: run ./x test-fleet"
    return found


@pytest.fixture(scope="session")
def run(dnsalt: str) -> Run:
    """Runs dnsalt; expects an exit code, 0 unless told."""

    def call(*args: str | Path, code: int = 0, **options: Any) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([dnsalt, *map(str, args)], capture_output=True, check=False, **options)
        assert done.returncode == code, done.stderr.decode(errors="replace")
        return done

    return call


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 resolvers of eight habits, over two hours."""
    path = tmp_path_factory.mktemp("captures") / "seen.pcap"
    captures.make(path, resolvers=48, queries=700)
    return path


@pytest.fixture(scope="session")
def extract(run: Run, capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extract of it."""
    out = tmp_path_factory.mktemp("extract") / "out"
    run("extract", capture, "--out", out)
    return out


def exact(text: str | bytes) -> Any:
    """JSON whose numbers are compared as they are written."""
    return json.loads(text, parse_float=lambda digits: f"float {digits}")


@pytest.fixture(scope="session")
def checked(run: Run) -> Callable[..., dict[str, Any]]:
    """What `dnsalt check` says of each resolver in captures."""

    def check(*captures: Path) -> dict[str, Any]:
        report = exact(run("check", "--json", *captures, code=1).stdout)
        return {resolver["address"]: resolver for resolver in report["resolvers"]}

    return check
