"""dnsalt as a process: Arrow record batches in, Arrow record batches out."""

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import pyarrow as pa

from dnsalt_fleet import FleetError


def version(program: str) -> str:
    """What `dnsalt --version` says."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise FleetError(f"dnsalt cannot be run ({program}: {error.strerror})") from error
    if done.returncode != 0:
        raise FleetError(f"{program} --version: {ended(done.returncode)}")
    return done.stdout.strip()


def ended(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def once(command: list[str], given: bytes) -> bytes:
    """What a process that gets all at once writes."""
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().removeprefix("dnsalt: ")
        raise FleetError(f"{' '.join(command)} {ended(done.returncode)}: {said}")
    return done.stdout


def through(
    command: list[str],
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    progress: Callable[[], str],
) -> Iterator[pa.RecordBatch]:
    """Sends batches through a process, and yields what it writes while it still reads.

    `progress` says where it was, for the error if it fails.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise FleetError(f"dnsalt cannot be run ({command[0]}: {error.strerror})") from error
        assert process.stdin is not None and process.stdout is not None
        feeder = Feeder(process.stdin, batches, schema)
        feeder.start()
        try:
            try:
                with pa.ipc.open_stream(process.stdout) as reader:
                    yield from reader
                cut = False
            except pa.ArrowInvalid:
                # It ended before it had said all: how, is told below.
                cut = True
            process.stdout.close()
            feeder.join()
            code = process.wait()
            if feeder.failed is not None:
                raise feeder.failed
            if code != 0 or cut:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().removeprefix("dnsalt: ")
                what = f"dnsalt {ended(code)}" + (f": {said}" if said else "")
                raise FleetError(f"{what} ({progress()})")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


class Feeder(threading.Thread):
    """Writes to a process what it reads, beside the one who reads what it writes."""

    def __init__(
        self, to: IO[bytes], batches: Iterable[pa.RecordBatch], schema: pa.Schema
    ) -> None:
        super().__init__(daemon=True)
        self.to, self.batches, self.schema = to, batches, schema
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            with pa.ipc.new_stream(self.to, self.schema) as writer:
                for batch in self.batches:
                    writer.write_batch(batch)
        except (BrokenPipeError, pa.ArrowInvalid):
            pass  # It ended, and says why.
        except OSError as error:
            if error.errno != getattr(os, "EPIPE", 32):
                self.failed = error
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told by the other thread
            self.failed = error
        finally:
            try:
                self.to.close()
            except OSError:
                pass
