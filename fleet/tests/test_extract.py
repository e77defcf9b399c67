"""`dnsalt extract`, read back by DuckDB."""

import gzip
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import captures
import duckdb
import pyarrow.parquet as pq
import pytest

#: The columns as docs/reference/fleet.md has them: name, type in DuckDB, whether there may be none.
COLUMNS = {
    "time_ns": ("BIGINT", False),
    "resolver": ("VARCHAR", False),
    "server": ("VARCHAR", False),
    "kind": ("VARCHAR", False),
    "port": ("INTEGER", False),
    "id": ("INTEGER", False),
    "question": ("BIGINT", False),
    "qtype": ("INTEGER", True),
    "flags": ("INTEGER", False),
    "letters": ("INTEGER", False),
    "upper": ("INTEGER", False),
    "edns_size": ("INTEGER", True),
    "dnssec_ok": ("BOOLEAN", False),
    "cookie": ("BOOLEAN", False),
    "retransmission": ("BOOLEAN", False),
    "reply_delay_ns": ("BIGINT", True),
    "rtt_us": ("BIGINT", True),
    "reply_truncated": ("BOOLEAN", True),
    "reply_fragmented": ("BOOLEAN", True),
    "cookie_returned": ("BOOLEAN", True),
    "mismatch": ("VARCHAR", True),
    "after_mismatch": ("BOOLEAN", False),
}


def rows(folder: Path, what: str = "*", order: str = "all") -> list[tuple[Any, ...]]:
    """What DuckDB reads of all files below a folder."""
    return duckdb.sql(
        f"select {what} from read_parquet('{folder}/**/*.parquet', hive_partitioning = false) order by {order}"
    ).fetchall()


def files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_the_columns_are_those_of_the_reference(extract: Path) -> None:
    described = duckdb.sql(f"describe from read_parquet('{extract}/**/*.parquet', hive_partitioning = false)")
    assert {row[0]: row[1] for row in described.fetchall()} == {
        name: kind for name, (kind, _) in COLUMNS.items()
    }
    file = pq.ParquetFile(next(extract.rglob("*.parquet")))
    assert {field.name: field.nullable for field in file.schema_arrow} == {
        name: optional for name, (_, optional) in COLUMNS.items()
    }
    assert file.metadata.metadata[b"dnsalt.columns"] == b"1"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    reference = Path(__file__).parents[2] / "docs/reference/fleet.md"
    told = [line.split("`")[1] for line in reference.read_text().splitlines() if line.startswith("| `")]
    assert told[: len(COLUMNS)] == list(COLUMNS)


def test_sums_are_those_of_check(extract: Path, capture: Path, checked: Any) -> None:
    by_resolver = duckdb.sql(
        f"""select resolver,
            count(*) filter (kind = 'query'), count(*) filter (retransmission),
            count(*) filter (reply_delay_ns is not null), count(*) filter (kind = 'tcp-opened'),
            count(*) filter (mismatch = 'id'), count(*) filter (after_mismatch),
            count(*) filter (cookie and not retransmission), coalesce(sum(rtt_us), 0)
        from read_parquet('{extract}/**/*.parquet') group by resolver"""
    ).fetchall()
    names = (
        "queries", "retransmissions", "answered", "tcp_opened", "wrong_id", "tcp_after_mismatch", "cookies",
        "answer_micros",
    )  # fmt: skip
    found = {resolver: dict(zip(names, sums, strict=True)) for resolver, *sums in by_resolver}
    expected = {
        address: {name: judged["counters"][name] for name in names}
        for address, judged in checked(capture).items()
    }
    assert found == expected
    assert sum(sums["wrong_id"] for sums in found.values()) > 1000
    assert sum(sums["tcp_after_mismatch"] for sums in found.values()) > 100


def test_rows_are_in_the_folder_of_their_hour_and_resolver(extract: Path) -> None:
    assert {path.parts[0] for path in files(extract)} == {"hour=2026-11-27T12", "hour=2026-11-27T13"}
    hours = duckdb.sql(
        f"""select distinct hour, strftime(make_timestamp(time_ns // 1000), '%Y-%m-%dT%H')
        from read_parquet('{extract}/**/*.parquet', hive_types = {{'hour': VARCHAR}})"""
    ).fetchall()
    assert len(hours) == 2 and all(folder == time for folder, time in hours)
    buckets = duckdb.sql(
        f"select resolver from read_parquet('{extract}/**/*.parquet') group by resolver having count(distinct bucket) > 1"
    ).fetchall()
    assert buckets == []


def test_the_same_again_gives_the_same_files(run: Any, extract: Path, capture: Path, tmp_path: Path) -> None:
    for threads in ("1", "3"):
        run("extract", capture, "--out", tmp_path, "--threads", threads)
        assert files(tmp_path) == files(extract)
        assert rows(tmp_path) == rows(extract)
    # Other options are other rows, beside them.
    run("extract", capture, "--out", tmp_path, "--one-client", "10.0.0.0/8")
    assert len(files(tmp_path)) > len(files(extract))


def test_a_stream_and_a_compressed_file_give_the_same_rows(
    run: Any, extract: Path, capture: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "seen.pcap.gz"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    run("extract", packed, "--out", tmp_path / "packed")
    with capture.open("rb") as stream:
        run("extract", "-", "--out", tmp_path / "stream", stdin=stream)
    assert rows(tmp_path / "packed") == rows(tmp_path / "stream") == rows(extract)


def test_what_was_read_of_a_damaged_capture_is_kept_and_told(run: Any, capture: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-7])
    done = run("extract", cut, "--json", "--out", tmp_path / "out", code=3)
    report = json.loads(done.stdout)
    assert report["losses"][0]["file"] == str(cut)
    assert len(rows(tmp_path / "out")) == report["rows"] > 20_000
    assert done.stderr.decode().startswith(f"dnsalt: {cut}: ")


def test_killed_in_the_midst_nothing_is_there(dnsalt: str, capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for delay in (0.0, 0.01, 0.03, 0.06):
        # A stream that does not end keeps it waiting.
        process = subprocess.Popen([dnsalt, "extract", "-", "--out", out], stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(capture.read_bytes())
        process.stdin.flush()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdin.close()
    # What engines pass over.
    assert all(path.name.startswith(".") for path in files(out))


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs root")
def test_a_full_disk_is_told_and_leaves_nothing(dnsalt: str, capture: Path, tmp_path: Path) -> None:
    # A disk that only these processes see.
    script = 'mount -t tmpfs -o size=100k none "$2" && "$0" extract "$1" --out "$2/out"; code=$?; find "$2" -name "*.par*" >&2; exit $code'
    command = ["unshare", "--mount", "sh", "-c", script, dnsalt, capture, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "No space left" in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_many_hours_out_of_order_are_kept_apart(run: Any, tmp_path: Path) -> None:
    hour = 3_600_000_000_000
    packets = []
    for n in range(40):
        # Five hours by turns: more than are open at a time.
        time_ns = captures.BEGIN + n % 5 * hour + n
        asked = captures.message(n, 0x0100, captures.question("a.test", 1))
        packets.append((time_ns, captures.udp("10.0.0.1", 2000 + n, "192.0.2.53", 53, asked)))
    path = tmp_path / "jumps.pcap"
    captures.write(path, packets, ordered=False)
    run("extract", path, "--out", tmp_path / "out")
    assert len({file.parts[0] for file in files(tmp_path / "out")}) == 5
    assert [row[0] for row in rows(tmp_path / "out", "id")] == list(range(40))


def test_mistakes_are_told_in_one_line(run: Any, capture: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    done = run("extract", capture, "--out", file, code=3)
    assert done.stderr.decode() == f"dnsalt: {file}: File exists (os error 17)\n"
    done = run("extract", tmp_path / "none.pcap", "--out", tmp_path / "out", code=3)
    assert done.stderr.decode() == f"dnsalt: {tmp_path}/none.pcap: No such file or directory (os error 2)\n"
    assert run("extract", capture, code=2).stderr.count(b"\n") == 1
