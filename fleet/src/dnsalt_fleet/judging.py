"""The job: rows of extracts to verdicts, on Spark."""

import functools
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dnsalt_fleet import FleetError, __version__, program
from dnsalt_fleet.worker import SENT, Judge

#: The columns of an extract that the judge reads.
COLUMNS = [
    "time_ns", "resolver", "server", "kind", "port", "id", "question", "letters", "upper",
    "edns_size", "dnssec_ok", "cookie", "retransmission", "reply_delay_ns", "rtt_us",
    "reply_truncated", "reply_fragmented", "cookie_returned", "mismatch", "after_mismatch",
]  # fmt: skip


def session(master: str | None, options: dict[str, str], verbose: bool) -> SparkSession:
    """A session, on a cluster or in this process. Without a master, whatever spark-submit says."""
    builder = SparkSession.builder.appName("dnsalt-fleet")
    if master is not None:
        builder = builder.master("local[*]" if master == "local" else master)
        if master.startswith("local"):
            # The Python of the workers is this one.
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    log = Path(__file__).with_name("log4j2.properties")
    level = "WARN" if verbose else "OFF"
    settings = {
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log.as_uri()} -Ddnsalt.fleet.log={level}",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "8192",
        **options,
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def prepare(spark: SparkSession, dnsalt: str | None, options: list[str]) -> tuple[Judge, str]:
    """Sends what the workers need; how they judge, and the dnsalt that the driver has.

    With a path, this very program is sent; otherwise each worker finds its own on PATH.
    """
    own = dnsalt or shutil.which(SENT)
    if own is None:
        raise FleetError("dnsalt is not on PATH: name it with --dnsalt PATH")
    version = program.version(own)
    context = spark.sparkContext
    if dnsalt is not None:
        with_name = Path(tempfile.mkdtemp(prefix="dnsalt-fleet-")) / SENT
        shutil.copy2(own, with_name)
        context.addFile(str(with_name))
    sources = sorted(Path(__file__).parent.glob("*.py"))
    # None where it is no folder: then the package came with the job, by --py-files.
    if sources:
        context.addPyFile(package(sources))
    return Judge(sent=dnsalt is not None, version=version, options=tuple(options)), own


def package(sources: list[Path]) -> str:
    """This package as a file for the workers."""
    path = Path(tempfile.mkdtemp(prefix="dnsalt-fleet-")) / f"dnsalt_fleet-{__version__}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sources:
            archive.write(file, f"{file.parent.name}/{file.name}")
    return str(path)


def extracts(spark: SparkSession, paths: list[str]) -> DataFrame:
    """The rows of extracts, those columns that are needed."""
    from pyspark.errors import AnalysisException

    try:
        rows = spark.read.option("recursiveFileLookup", "true").parquet(*paths)
    except AnalysisException as error:
        raise FleetError(f"{', '.join(paths)}: {first_line(error)}") from error
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise FleetError(f"{', '.join(paths)}: no extract of dnsalt (column {missing[0]} is missing)")
    return rows.select(*COLUMNS)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def verdict_schema(dnsalt: str) -> T.StructType:
    """What `dnsalt judge` writes, by its own word: the verdicts of no rows."""
    from pyspark.sql.pandas.types import from_arrow_schema

    fields = [pa.field(name, kind) for name, kind in EMPTY.items()]
    empty = pa.BufferOutputStream()
    pa.ipc.new_stream(empty, pa.schema(fields)).close()
    verdicts = program.once([dnsalt, "judge", "--arrow"], empty.getvalue().to_pybytes())
    with pa.ipc.open_stream(verdicts) as reader:
        schema: T.StructType = from_arrow_schema(reader.schema)
        return schema


#: An extract without rows needs no types.
EMPTY = {name: pa.int64() for name in COLUMNS}


def judge(
    spark: SparkSession, rows: DataFrame, how: Judge, dnsalt: str, partitions: int | None
) -> DataFrame:
    """The verdict of each resolver, as one dnsalt that had all packets would give it."""
    schema = verdict_schema(dnsalt)
    by_resolver = rows.repartition(partitions or parts_of(spark, rows), "resolver")
    ordered = by_resolver.sortWithinPartitions("resolver", "time_ns")
    # Each by itself first: what statistics found is weighed when all chances are known.
    alone = ordered.mapInArrow(how.rows, schema).persist(StorageLevel.DISK_ONLY)
    limits = limits_of(alone, dnsalt)
    # Of whom statistics found nothing, the verdict stays.
    certain = F.coalesce(F.col("chance") >= 1.0, F.lit(False)) & F.forall(
        "server_chances", lambda chance: chance >= 1.0
    )
    control = functools.partial(weigh, how, limits)
    weighed = alone.where(~certain).mapInArrow(control, schema)
    return alone.where(certain).unionByName(weighed)


def parts_of(spark: SparkSession, rows: DataFrame) -> int:
    """Parts that resolvers are cut into: some for each core, and small enough to be sorted in memory.

    What Spark reads at once of an extract becomes several times as much when it is unpacked.
    """
    return max(2 * spark.sparkContext.defaultParallelism, 4 * rows.rdd.getNumPartitions())


def weigh(how: Judge, limits: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return how.control(limits, batches)


def limits_of(alone: DataFrame, dnsalt: str) -> str:
    """The chances up to which statistics count, as dnsalt itself works them out."""
    table = alone.select("chance", "server_chances").toArrow()
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    limits = program.once([dnsalt, "judge", "--arrow", "--limits"], stream.getvalue().to_pybytes())
    return json.dumps(json.loads(limits))
