"""The command line."""

import argparse
import sys
from pathlib import Path

from dnsalt_fleet import FleetError, __version__

FORMATS = ("parquet", "csv", "json")


def parser() -> argparse.ArgumentParser:
    """Exit codes are dnsalt's: 1 somebody is weak or worse, 2 usage, 3 could not do it."""
    top = argparse.ArgumentParser(
        prog="dnsalt-fleet", description="Judges the DNS queries of millions of resolvers on Apache Spark."
    )
    top.add_argument("--version", action="version", version=f"dnsalt-fleet {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True)
    judge = verbs.add_parser(
        "judge",
        help="judge extracts of dnsalt",
        description="Reads what `dnsalt extract` wrote, and judges each resolver with `dnsalt judge` on the workers.",
        epilog="Exit codes: 0 nobody is weak, 1 somebody is weak or worse, 2 usage, 3 it could not be done.",
    )
    judge.add_argument("paths", metavar="PATH", nargs="+", help="extracts: folders, files, or URLs that Spark can read")
    judge.add_argument("--out", metavar="DIR", required=True, help="where to: a folder that is not there yet, or a URL")
    judge.add_argument(
        "--master", metavar="URL", help="of the cluster, or local [default: what spark-submit says, or local]"
    )
    judge.add_argument(
        "--dnsalt", metavar="FILE", help="send this program to the workers [default: the one on each worker's PATH]"
    )
    judge.add_argument(
        "--format",
        metavar="LIST",
        default="parquet,csv,json",
        help="of parquet, csv, json; parquet is always written [default: all]",
    )
    judge.add_argument("--by", choices=("resolver", "prefix", "asn"), default="prefix", help="[default: prefix, /24 and /48]")
    judge.add_argument("--asn-table", metavar="FILE", help="CSV for --by asn: PREFIX,ASN or PREFIX,ASN,NAME")
    judge.add_argument("--before", metavar="DIR", help="an earlier result: also tell what changed since")
    judge.add_argument("--html", metavar="FILE", help="also write a page: bits, worst networks, what changed")
    judge.add_argument("--partitions", metavar="N", type=positive, help="parts that the resolvers are cut into")
    judge.add_argument("--conf", metavar="NAME=VALUE", action="append", default=[], help="a setting of Spark")
    judge.add_argument("--verbose", action="store_true", help="also show what Spark says of itself")
    terms = judge.add_argument_group("judgement, as in `dnsalt check`")
    terms.add_argument("--attacker", metavar="RATE", help="what the attacker sends: 100Mbit, 50000pps")
    terms.add_argument("--servers", metavar="N", type=positive, help="servers that the right reply may come from")
    terms.add_argument("--deep", action="store_true", help="look harder; takes seconds for each resolver")
    return top


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return number


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    formats = args.format.split(",")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        return usage(f"--format: {unknown[0]} is none of {', '.join(FORMATS)}")
    if (args.by == "asn") != (args.asn_table is not None):
        return usage("--by asn and --asn-table FILE go together")
    settings = {}
    for setting in args.conf:
        name, equals, value = setting.partition("=")
        if not equals:
            return usage(f"--conf {setting}: give NAME=VALUE")
        settings[name] = value
    options = []
    if args.attacker:
        options += ["--attacker", args.attacker]
    if args.servers:
        options += ["--servers", str(args.servers)]
    if args.deep:
        options += ["--deep"]
    try:
        from dnsalt_fleet.run import Job, run

        job = Job(
            paths=args.paths,
            out=args.out.rstrip("/"),
            master=args.master,
            dnsalt=args.dnsalt,
            formats=formats,
            by=args.by,
            asn_table=args.asn_table,
            before=args.before,
            html=Path(args.html) if args.html else None,
            partitions=args.partitions,
            settings=settings,
            verbose=args.verbose,
            options=options,
        )
        counts = run(job)
    except FleetError as error:
        print(f"dnsalt-fleet: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 1 if counts.get("broken", 0) + counts.get("weak", 0) else 0


def usage(message: str) -> int:
    print(f"dnsalt-fleet: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
