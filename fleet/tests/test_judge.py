"""`dnsalt judge --arrow` by itself: what a worker of any engine does."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest
from conftest import exact


def stream(table: pa.Table, batch: int = 1000) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)
    return sink.getvalue().to_pybytes()


def table(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


@pytest.fixture(scope="module")
def grouped(extract: Path) -> pa.Table:
    """Rows by resolver, and within it in no order."""
    rows = pyarrow.dataset.dataset(extract, format="parquet").to_table()
    order = list(range(len(rows)))
    random.Random(7).shuffle(order)
    return rows.take(order).sort_by("resolver")


def judge(run: Any, rows: pa.Table, *options: str, batch: int = 1000) -> pa.Table:
    return table(run("judge", "--arrow", *options, input=stream(rows, batch)).stdout)


def verdicts(judged: pa.Table) -> dict[str, Any]:
    rows = zip(judged["resolver"].to_pylist(), judged["judgement"].to_pylist(), strict=True)
    return {resolver: exact(judgement) for resolver, judgement in rows}


@pytest.mark.parametrize("batch", [1, 1000, 1_000_000])
def test_verdicts_are_those_of_check(run: Any, grouped: pa.Table, capture: Path, checked: Any, batch: int) -> None:
    alone = judge(run, grouped, batch=batch)
    limits = run("judge", "--arrow", "--limits", input=stream(alone)).stdout.decode()
    weighed = judge(run, alone, "--control", limits)
    assert verdicts(weighed) == checked(capture)
    words = {judged: word for judged, word in zip(weighed["resolver"].to_pylist(), weighed["verdict"].to_pylist())}
    assert set(words.values()) >= {"broken", "fair"}, words
    # Weighed once more by the same limits nothing changes.
    assert judge(run, weighed, "--control", limits) == weighed


def test_the_options_are_those_of_check(run: Any, grouped: pa.Table, capture: Path) -> None:
    options = ("--attacker", "10Gbit", "--servers", "3", "--min-entropy")
    alone = judge(run, grouped, *options)
    limits = run("judge", "--arrow", "--limits", input=stream(alone)).stdout.decode()
    weighed = judge(run, alone, *options, "--control", limits)
    report = exact(run("check", "--json", *options, capture, code=1).stdout)
    assert verdicts(weighed) == {resolver["address"]: resolver for resolver in report["resolvers"]}


def test_other_columns_and_orders_do_not_matter(run: Any, grouped: pa.Table) -> None:
    expected = judge(run, grouped)
    other = grouped.append_column("new", pa.array(["x"] * len(grouped)))
    other = other.select(sorted(other.column_names)).cast(
        pa.schema(
            [
                pa.field(field.name, pa.large_string() if field.type == pa.string() else field.type)
                for field in sorted(other.schema, key=lambda field: field.name)
            ]
        )
    )
    assert judge(run, other) == expected


def told(run: Any, data: bytes, *options: str, code: int = 3) -> str:
    done = run("judge", "--arrow", *options, input=data, code=code)
    line = done.stderr.decode()
    assert line.count("\n") == 1, line
    return line.removeprefix("dnsalt: ").rstrip("\n")


def changed(grouped: pa.Table, name: str, at: int, value: Any) -> bytes:
    column = grouped[name].to_pylist()
    column[at] = value
    place = grouped.column_names.index(name)
    return stream(grouped.set_column(place, name, pa.array(column, grouped.schema.field(name).type)))


def test_what_is_no_row_is_told_with_its_place(run: Any, grouped: pa.Table) -> None:
    resolver = grouped["resolver"][1234].as_py()
    place = f"row 1234, of {resolver}"
    for name, value, why in [
        ("kind", "answer", 'column kind: "answer" is no kind of row'),
        ("port", 70_000, "column port: 70000 is out of range"),
        ("port", None, "column port is null"),
        ("server", "somewhere", 'column server: "somewhere" is no address'),
        ("time_ns", -1, "column time_ns: -1 is out of range"),
    ]:
        assert told(run, changed(grouped, name, 1234, value)) == f"{place}: {why}"
    assert "in two places" in told(run, changed(grouped, "resolver", 1234, "10.9.9.9"))
    assert told(run, changed(grouped, "resolver", 0, "x")) == 'row 0: column resolver: "x" is no address'
    assert told(run, stream(grouped.drop_columns(["rtt_us"]))) == "column rtt_us is missing"
    text = grouped.set_column(grouped.column_names.index("port"), "port", grouped["port"].cast(pa.string()))
    assert told(run, stream(text)) == "column port is Utf8; it should be Int32 or Int64"


def test_what_is_no_stream_is_told(run: Any, grouped: pa.Table) -> None:
    assert "no Arrow IPC stream" in told(run, b"")
    assert "no Arrow IPC stream" in told(run, b"resolver,verdict\n10.0.0.1,fair\n")
    whole = stream(grouped)
    for cut in (100, len(whole) // 2, len(whole) - 100):
        told(run, whole[:cut])
    told(run, whole, "--limits")
    told(run, whole, "--control", '{"overall":0,"servers":0}')
    assert "--limits printed" in told(run, whole, "--control", "1e-4", code=2)
    draw = random.Random(3)
    for _ in range(200):
        # Whatever it is, it ends as it should.
        spoilt = bytearray(whole[: 40_000])
        for _ in range(draw.randrange(1, 6)):
            spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        done = subprocess.run(["dnsalt", "judge", "--arrow"], input=bytes(spoilt), capture_output=True, check=False)
        assert done.returncode in (0, 3) and b"panicked" not in done.stderr, done.stderr


def test_no_rows_are_no_verdicts(run: Any, grouped: pa.Table) -> None:
    none = judge(run, grouped.slice(0, 0))
    assert len(none) == 0 and none.column_names[0] == "resolver"
    assert json.loads(run("judge", "--arrow", "--limits", input=stream(none)).stdout) == {"overall": 0.0, "servers": 0.0}


def test_one_resolver_with_half_of_all_rows_takes_no_more_memory(run: Any, grouped: pa.Table, tmp_path: Path) -> None:
    """The rows of a resolver are not kept: 2 million of them in less memory than they have."""
    many = pa.concat_tables([grouped.filter(pa.compute.equal(grouped["resolver"], "10.0.0.2"))] * 2900)
    assert len(many) > 2_000_000
    with (tmp_path / "rows").open("wb") as file, pa.ipc.new_stream(file, many.schema) as writer:
        writer.write_table(many, max_chunksize=8192)
    with (tmp_path / "rows").open("rb") as rows:
        command = [sys.executable, "-c", MEASURE]
        done = subprocess.run(command, stdin=rows, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000, f"{done.stdout} kB"


MEASURE = """
import resource, subprocess
subprocess.run(["dnsalt", "judge", "--arrow"], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
