"""What changed since an earlier result."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from dnsalt_fleet import FleetError

#: From bad to good; what is unknown is neither.
RANKS = {"broken": 0, "weak": 1, "fair": 2, "strong": 3}


def earlier(spark: SparkSession, path: str) -> DataFrame:
    """The verdicts of an earlier result."""
    from pyspark.errors import AnalysisException

    try:
        verdicts = spark.read.parquet(f"{path.rstrip('/')}/verdicts.parquet")
        return verdicts.select("resolver", "verdict", "bits", "queries", "network")
    except AnalysisException as error:
        raise FleetError(f"{path}: no result of dnsalt-fleet judge") from error


def changes(before: DataFrame, now: DataFrame) -> DataFrame:
    """Resolvers whose verdict changed, that are new, or gone."""
    old = before.select(
        "resolver",
        F.col("verdict").alias("verdict_before"),
        F.col("bits").alias("bits_before"),
        F.col("queries").alias("queries_before"),
        F.col("network").alias("network_before"),
    )
    new = now.select("resolver", "verdict", "bits", "queries", "network")
    rank = F.create_map(*[F.lit(part) for pair in RANKS.items() for part in pair])
    was, is_now = rank[F.col("verdict_before")], rank[F.col("verdict")]
    change = (
        F.when(F.col("verdict_before").isNull(), "new")
        .when(F.col("verdict").isNull(), "gone")
        .when(is_now > was, "better")
        .when(is_now < was, "worse")
        .when(was.isNull() & is_now.isNotNull(), "judged")
        .when(was.isNotNull() & is_now.isNull(), "unknown")
    )
    both = old.join(new, "resolver", "full_outer").withColumn("change", change)
    both = both.withColumn("network", F.coalesce("network", "network_before")).drop("network_before")
    return both.where(F.col("change").isNotNull()).orderBy(
        "change", F.desc(F.coalesce("queries", "queries_before")), "resolver"
    )
