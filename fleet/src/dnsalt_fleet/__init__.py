"""Judges the DNS queries of millions of resolvers on Apache Spark, with dnsalt on every worker.

    extracts ──Spark: by resolver, by time──▶ worker: `dnsalt judge` ──▶ verdicts ──▶ networks, changes, page
"""

__version__ = "0.1.0"


class FleetError(Exception):
    """Something that the user can do something about, in one line."""
