"""Verdicts by network: prefixes, or autonomous systems by a table of the user."""

import csv
import functools
import ipaddress
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dnsalt_fleet import FleetError

#: From bad to good, as dnsalt sorts its reports.
VERDICTS = ("broken", "weak", "unknown", "fair", "strong")
#: Lengths of prefixes by family, as they are delegated to a site.
LENGTHS = {4: 24, 6: 48}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: For each family its prefixes: by length, longest first, from first address to name.
Table = dict[int, list[tuple[int, dict[int, str]]]]


def prefix(address: Address) -> str:
    """The network of an address: /24 or /48."""
    return str(ipaddress.ip_network((address, LENGTHS[address.version]), strict=False))


def read_table(path: str) -> Table:
    """A table of autonomous systems: lines PREFIX,ASN or PREFIX,ASN,NAME; a head is passed over."""
    prefixes: dict[int, dict[int, dict[int, str]]] = {4: {}, 6: {}}
    try:
        with open(path, newline="") as file:
            for number, line in enumerate(csv.reader(file), 1):
                if not line or (number == 1 and line[0].strip().lower() == "prefix"):
                    continue
                try:
                    network = ipaddress.ip_network(line[0].strip())
                    asn = int(line[1].strip().upper().removeprefix("AS"))
                except (ValueError, IndexError) as error:
                    raise FleetError(f"{path}, line {number}: give PREFIX,ASN or PREFIX,ASN,NAME") from error
                name = f"AS{asn}" + (f" {line[2].strip()}" if len(line) > 2 and line[2].strip() else "")
                of_length = prefixes[network.version].setdefault(network.prefixlen, {})
                of_length[int(network.network_address)] = name
    except OSError as error:
        raise FleetError(f"{path}: {error.strerror}") from error
    return {family: sorted(lengths.items(), reverse=True) for family, lengths in prefixes.items()}


def look_up(table: Table, address: Address) -> str:
    """The longest match; unknown where there is none."""
    number, bits = int(address), address.max_prefixlen
    for length, networks in table[address.version]:
        name = networks.get(number >> (bits - length) << (bits - length))
        if name is not None:
            return name
    return "unknown"


def name(batches: Iterator[pa.RecordBatch], table: Table | None) -> Iterator[pa.RecordBatch]:
    """Adds the network of each resolver."""
    of = prefix if table is None else functools.partial(look_up, table)
    for batch in batches:
        names = [of(ipaddress.ip_address(text)) for text in batch.column("resolver").to_pylist()]
        yield batch.append_column("network", pa.array(names, pa.string()))


def with_networks(verdicts: DataFrame, by: str, table: Table | None) -> DataFrame:
    """Verdicts with the column `network`."""
    if by == "resolver":
        return verdicts.withColumn("network", F.col("resolver"))
    schema = verdicts.withColumn("network", F.lit("")).schema
    return verdicts.mapInArrow(functools.partial(name, table=table), schema)


def summary(verdicts: DataFrame) -> DataFrame:
    """One row for each network, worst first."""
    by_network = verdicts.groupBy("network").agg(
        F.count("*").alias("resolvers"),
        *[F.count_if(F.col("verdict") == word).alias(word) for word in VERDICTS],
        F.sum("queries").alias("queries"),
        F.min("bits").alias("least_bits"),
        F.percentile("bits", 0.5).alias("median_bits"),
    )
    return by_network.orderBy(*worst_first())


def worst_first() -> list[Any]:
    """The order of networks."""
    return [F.desc("broken"), F.desc("weak"), F.asc_nulls_last("least_bits"), F.desc("queries"), "network"]
