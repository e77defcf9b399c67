"""How fast the fleet judges, beside the nearest thing that plain engines do, on the same rows in one run.

    ./x bench-fleet [--rows 20000000] [--memory-rows 100000000] [--rounds 3]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 1_000_000
BEGIN = 1_795_737_600_000_000_000
#: What operators who have no judge ask for: how many ports, how far apart.
SQL = """select resolver, count(*) as queries, count(distinct port) as ports, stddev_pop(port) as port_deviation,
    count(distinct id) as ids, stddev_pop(id) as id_deviation from {rows} where kind = 'query' group by resolver"""


def rows(folder: Path, count: int, resolvers: int, half: bool = False) -> None:
    """So many queries of so many resolvers over a day, one in ten with a fixed port; answered nine times in ten.

    With `half`, one of the resolvers has half of all rows.
    """
    folder.mkdir(parents=True)
    draw = np.random.default_rng(1)
    names = pa.array([f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(resolvers)])
    servers = pa.array([f"192.0.2.{n}" for n in range(1, 14)])
    for part in range(-(-count // BATCH)):
        n = min(BATCH, count - part * BATCH)
        who = draw.integers(0, resolvers, n)
        if half:
            who[::2] = 7
        port = np.where(who % 10 == 0, 1024 + who % 60000, draw.integers(1024, 65536, n))
        answered = draw.random(n) < 0.9
        delay = draw.integers(1_000_000, 200_000_000, n)

        def none(kind: pa.DataType, n: int = n) -> pa.Array:
            return pa.nulls(n, kind)

        def maybe(values: np.ndarray, kind: pa.DataType, answered: np.ndarray = answered) -> pa.Array:
            return pa.array(values, kind, mask=~answered)

        no = np.zeros(n, bool)
        table = pa.table(
            {
                "time_ns": BEGIN + np.sort(draw.integers(0, 86_400_000_000_000, n)),
                "resolver": names.take(pa.array(who)),
                "server": servers.take(pa.array(draw.integers(0, 13, n))),
                "kind": pa.array(["query"] * n),
                "port": port.astype(np.int32),
                "id": draw.integers(0, 65536, n).astype(np.int32),
                "question": draw.integers(0, 2**32, n),
                "qtype": np.ones(n, np.int32),
                "flags": np.full(n, 0x0100, np.int32),
                "letters": np.full(n, 12, np.int32),
                "upper": np.zeros(n, np.int32),
                "edns_size": np.full(n, 1232, np.int32),
                "dnssec_ok": ~no,
                "cookie": no,
                "retransmission": no,
                "reply_delay_ns": maybe(delay, pa.int64()),
                "rtt_us": maybe(delay // 1000, pa.int64()),
                "reply_truncated": maybe(no, pa.bool_()),
                "reply_fragmented": maybe(no, pa.bool_()),
                "cookie_returned": none(pa.bool_()),
                "mismatch": none(pa.string()),
                "after_mismatch": no,
            }
        )
        pq.write_table(table, folder / f"part-{part:04}.parquet", compression="zstd")


def judge(extract: Path, out: Path, cores: int) -> list[str]:
    return [
        sys.executable, "-m", "dnsalt_fleet.cli", "judge", "--master", f"local[{cores}]", "--format", "parquet",
        "--partitions", "64", str(extract), "--out", str(out),
    ]  # fmt: skip


SPARK = """
import sys
from dnsalt_fleet.judging import session
spark = session("local[{cores}]", {{"spark.sql.shuffle.partitions": "64"}}, False)
spark.read.parquet(sys.argv[1]).createOrReplaceTempView("seen")
spark.sql('''{sql}''').write.parquet(sys.argv[2])
"""


def spark_sql(extract: Path, out: Path, cores: int) -> list[str]:
    return [sys.executable, "-c", SPARK.format(cores=cores, sql=SQL.format(rows="seen")), str(extract), str(out)]


def duck(extract: Path, out: Path, cores: int) -> list[str]:
    sql = SQL.format(rows=f"read_parquet('{extract}/*.parquet')")
    script = f"import duckdb\nduckdb.sql(\"set threads = {cores}; set memory_limit = '3GB'\")\n"
    script += f'duckdb.sql("""copy ({sql}) to \'{out}.parquet\'""")\n'
    return [sys.executable, "-c", script]


def measured(command: list[str]) -> tuple[float, int]:
    """Seconds, and the most memory of all its processes together in bytes: private and shared by halves."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    most, over = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(0.25):
            most = max(most, memory(process.pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    _, error = process.communicate()
    seconds = time.monotonic() - begin
    over.set()
    watcher.join()
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)[:200]}: {error.decode(errors='replace')[-2000:]}")
    return seconds, most


def memory(session: int) -> int:
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                    for line in (entry / "smaps_rollup").read_text().splitlines():
                        if line.startswith("Pss:"):
                            total += int(line.split()[1]) * 1024
            except (OSError, IndexError):
                continue
    return total


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=20_000_000)
    options.add_argument("--memory-rows", type=int, default=100_000_000)
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    cores = os.cpu_count() or 1
    place = Path(tempfile.mkdtemp(prefix="dnsalt-bench-fleet-"))
    try:
        compare(place, args.rows, args.rounds, cores)
        if args.memory_rows:
            bounded(place, args.memory_rows, cores)
    finally:
        shutil.rmtree(place)


def compare(place: Path, count: int, rounds: int, cores: int) -> None:
    resolvers = count // 100
    rows(place / "rows", count, resolvers)
    contestants = {"dnsalt-fleet judge": judge, "Spark SQL": spark_sql, "DuckDB": duck}
    taken: dict[str, list[tuple[float, int]]] = {name: [] for name in contestants}
    for round_ in range(rounds):
        for name, command in contestants.items():
            out = place / f"{name.replace(' ', '-')}-{round_}"
            taken[name].append(measured(command(place / "rows", out, cores)))
            print(f"round {round_ + 1}, {name}: {taken[name][-1][0]:.1f} s", file=sys.stderr)
    print(f"\n{count:,} rows of {resolvers:,} resolvers, {cores} cores, median of {rounds} rounds:\n")
    print("| | seconds | rows a second | memory |\n|---|---|---|---|")
    for name, rounds_taken in taken.items():
        seconds = statistics.median(second for second, _ in rounds_taken)
        most = max(memory for _, memory in rounds_taken)
        print(f"| {name} | {seconds:.1f} | {count / seconds:,.0f} | {most / 1e9:.1f} GB |")


def bounded(place: Path, count: int, cores: int) -> None:
    for half in (False, True):
        what = "half of them of one resolver" if half else "evenly spread"
        folder = place / f"many-{half}"
        rows(folder, count, count // 100, half)
        seconds, most = measured(judge(folder, place / f"out-{half}", cores))
        print(f"\n{count:,} rows, {what}: {seconds:.0f} s, {count / seconds:,.0f} rows a second, {most / 1e9:.2f} GB at most")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
