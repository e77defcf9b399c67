"""What runs on the workers: partitions through `dnsalt judge`."""

import dataclasses
import os
from collections.abc import Iterator

import pyarrow as pa
from pyspark import SparkFiles, TaskContext

from dnsalt_fleet import FleetError, program

#: What `--files` calls the program.
SENT = "dnsalt"


@dataclasses.dataclass(frozen=True)
class Judge:
    """How each worker judges."""

    #: Whether the program came with the job; it is found on PATH otherwise.
    sent: bool
    #: What `dnsalt --version` has to say.
    version: str
    #: Options of `dnsalt judge`.
    options: tuple[str, ...]

    def rows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Verdicts of rows that are grouped by resolver."""
        return self.run([], batches)

    def control(self, limits: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Verdicts, weighed once more."""
        return self.run(["--control", limits], batches)

    def run(self, options: list[str], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches, None)
        if first is None:
            return
        dnsalt = SparkFiles.get(SENT) if self.sent else SENT
        where = place()
        self.check(dnsalt, where)
        latest = {"given": "none", "back": "none"}

        def given() -> Iterator[pa.RecordBatch]:
            batch: pa.RecordBatch | None = first
            while batch is not None:
                if batch.num_rows > 0:
                    latest["given"] = last_resolver(batch)
                yield batch
                batch = next(batches, None)

        def progress() -> str:
            back, to = latest["back"], latest["given"]
            return f"{where}; the last resolver judged was {back}, the last given {to}"

        command = [dnsalt, "judge", "--arrow", *self.options, *options]
        for verdicts in program.through(command, given(), first.schema, progress):
            latest["back"] = last_resolver(verdicts)
            yield verdicts

    def check(self, dnsalt: str, where: str) -> None:
        """The same dnsalt judges everywhere."""
        try:
            found = program.version(dnsalt)
        except FleetError as error:
            raise FleetError(f"{error} ({where})") from error
        if found != self.version:
            raise FleetError(f"this worker has {found}, the driver {self.version} ({where})")


def last_resolver(batch: pa.RecordBatch) -> str:
    resolver: str = batch.column("resolver")[batch.num_rows - 1].as_py()
    return resolver


def place() -> str:
    """Where this runs, for errors."""
    context = TaskContext.get()
    host = os.uname().nodename
    return f"partition {context.partitionId()} on {host}" if context else f"on {host}"
