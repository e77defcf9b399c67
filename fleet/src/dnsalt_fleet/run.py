"""One run: judge, write, sum up."""

import dataclasses
import os
import re
import warnings
from pathlib import Path
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from dnsalt_fleet import FleetError, judging, networks, page, trend

#: Networks and changes that the page shows.
SHOWN = 25


@dataclasses.dataclass(frozen=True)
class Job:
    """What to do, as the command line says it."""

    paths: list[str]
    out: str
    master: str | None
    dnsalt: str | None
    formats: list[str]
    by: str
    asn_table: str | None
    before: str | None
    html: Path | None
    partitions: int | None
    settings: dict[str, str]
    verbose: bool
    options: list[str]


def run(job: Job) -> dict[str, int]:
    """Does it; how many resolvers have each verdict."""
    table = networks.read_table(job.asn_table) if job.asn_table else None
    # Before the work, so that it is not lost for a wrong name.
    if job.html is not None and not job.html.parent.is_dir():
        raise FleetError(f"{job.html}: there is no such folder")
    master = job.master or (None if "SPARK_ENV_LOADED" in os.environ else "local")
    warnings.filterwarnings("ignore", module="pyspark")
    try:
        spark = judging.session(master, job.settings, job.verbose)
    except Exception as error:
        raise FleetError(f"Spark does not start: {cause(error)}") from error
    try:
        return in_session(spark, job, table)
    except FleetError:
        raise
    except Exception as error:
        raise FleetError(cause(error)) from error
    finally:
        spark.stop()


def cause(error: Exception) -> str:
    """What went wrong, in one line: what a worker said of it, or what was at the bottom of it."""
    text = str(error)
    inner = getattr(error, "java_exception", None)
    while inner is not None:
        text += f"\n{inner.toString()}"
        inner = inner.getCause()
    said = re.findall(r"FleetError: (.+)", text)
    said = said or re.findall(r"^[\w.$]*?(\w+(?:Error|Exception): .+)", text, re.MULTILINE)
    return said[-1] if said else judging.first_line(error)


def in_session(spark: SparkSession, job: Job, table: networks.Table | None) -> dict[str, int]:
    earlier = trend.earlier(spark, job.before) if job.before else None
    how, own = judging.prepare(spark, job.dnsalt, job.options)
    rows = judging.extracts(spark, job.paths)
    judged = judging.judge(spark, rows, how, own, job.partitions)
    rank = F.array_position(F.array(*[F.lit(word) for word in networks.VERDICTS]), F.col("verdict"))
    ordered = networks.with_networks(judged, job.by, table).orderBy(
        rank, F.asc_nulls_last("t50_seconds"), F.desc("queries"), "resolver"
    )
    if job.formats:
        # Sorted once for all that is written of it.
        ordered = ordered.persist(StorageLevel.DISK_ONLY)
    ordered.write.mode("errorifexists").parquet(f"{job.out}/verdicts.parquet")
    verdicts = spark.read.parquet(f"{job.out}/verdicts.parquet")
    plain = ordered.withColumn("findings", F.array_join("findings", " ")).drop("server_chances", "judgement")
    if "csv" in job.formats:
        plain.write.csv(f"{job.out}/verdicts.csv", header=True, escape='"')
    if "json" in job.formats:
        ordered.drop("judgement").write.json(f"{job.out}/verdicts.json")
    by_network = networks.summary(verdicts)
    by_network.write.parquet(f"{job.out}/networks.parquet")
    if "csv" in job.formats:
        by_network.write.csv(f"{job.out}/networks.csv", header=True)
    changed = None
    if earlier is not None:
        trend.changes(earlier, verdicts).write.parquet(f"{job.out}/changes.parquet")
        changed = spark.read.parquet(f"{job.out}/changes.parquet")
    counts = {row["verdict"]: row["count"] for row in verdicts.groupBy("verdict").count().collect()}
    if job.html is not None:
        write_page(spark, job, verdicts, counts, changed)
    tell(counts, job.out)
    return counts


def write_page(
    spark: SparkSession, job: Job, verdicts: DataFrame, counts: dict[str, int], changed: DataFrame | None
) -> None:
    assert job.html is not None
    bits: dict[int, dict[str, int]] = {}
    whole = verdicts.where("bits is not null").groupBy(F.floor("bits").alias("bits"), "verdict").count()
    for row in whole.collect():
        bits.setdefault(row["bits"], {})[row["verdict"]] = row["count"]
    worst = as_dicts(spark.read.parquet(f"{job.out}/networks.parquet").orderBy(*networks.worst_first()).limit(SHOWN))
    told, shown = None, []
    if changed is not None:
        told = {row["change"]: row["count"] for row in changed.groupBy("change").count().collect()}
        worse_first = F.array_position(F.array(F.lit("worse"), F.lit("better")), F.col("change"))
        shown = as_dicts(
            changed.where("change in ('worse', 'better')")
            .orderBy(worse_first, F.desc(F.coalesce("queries", "queries_before")), "resolver")
            .limit(SHOWN)
        )
    text = page.render(counts, bits, job.by, worst, told, shown)
    part = job.html.with_name(f".{job.html.name}.part")
    try:
        part.write_text(text)
        part.replace(job.html)
    except OSError as error:
        raise FleetError(f"{job.html}: {error.strerror}") from error


def as_dicts(frame: DataFrame) -> list[dict[str, Any]]:
    return [row.asDict() for row in frame.collect()]


def tell(counts: dict[str, int], out: str) -> None:
    told = ", ".join(f"{counts[word]:,} {word}" for word in networks.VERDICTS if counts.get(word))
    print(f"{sum(counts.values()):,} resolvers: {told or 'none'}. Written to {out}")
