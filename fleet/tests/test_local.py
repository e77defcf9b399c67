"""`dnsalt-fleet judge` in one process: verdicts, networks, changes, the page."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import captures
import dnsalt_fleet
import pyarrow.dataset
import pyspark
import pytest
from conftest import exact
from dnsalt_fleet.cli import main


def judge(*args: str | Path, code: int = 1) -> None:
    assert main(["judge", "--master", "local", "--partitions", "3", *map(str, args)]) == code


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    return pyarrow.dataset.dataset(out / f"{name}.parquet", format="parquet").to_table().to_pylist()


@pytest.fixture(scope="module")
def result(extract: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("local") / "out"
    judge(extract, "--out", out, "--html", out.parent / "page.html")
    return out


def test_verdicts_are_those_of_check(result: Path, capture: Path, checked: Any) -> None:
    found = {row["resolver"]: exact(row["judgement"]) for row in rows(result, "verdicts")}
    assert found == checked(capture)


def test_extracts_are_judged_together(run: Any, tmp_path: Path) -> None:
    """Two captures, extracted each by itself, are what `check` makes of the states of both."""
    paths = [tmp_path / "one.pcap", tmp_path / "two.pcap"]
    captures.make(paths[0], resolvers=20, queries=300, seed=1)
    # The same resolvers, a day later: what is outstanding at the end of one is nothing to the other.
    packets = [
        (time + 86_400_000_000_000, data)
        for number, address in enumerate(captures.addresses(20))
        for time, data in captures.resolver(address, number, 300, 2)
    ]
    captures.write(paths[1], packets)
    for path in paths:
        run("extract", path, "--out", tmp_path / "extract")
        run("check", "--state-out", f"{path}.state", path, code=1)
    judge(tmp_path / "extract", "--out", tmp_path / "out")
    found = {row["resolver"]: exact(row["judgement"]) for row in rows(tmp_path / "out", "verdicts")}
    states = [f"{path}.state" for path in paths]
    report = exact(run("check", "--json", "--merge", *states, code=1).stdout)
    assert found == {resolver["address"]: resolver for resolver in report["resolvers"]}


def test_csv_and_json_have_what_parquet_has(result: Path, run: Any, capture: Path) -> None:
    parts = sorted((result / "verdicts.csv").glob("part-*.csv"))
    lines = [row for part in parts for row in csv.DictReader(part.open(newline=""))]
    report = list(csv.DictReader(io.StringIO(run("check", "--csv", capture, code=1).stdout.decode())))
    # The same order, the same words.
    for name in ("resolver", "verdict", "queries", "sample", "findings", "reason", "oarc_grade", "wrong_id"):
        assert [line[name] for line in lines] == [line[name] for line in report], name
    for mine, theirs in zip(lines, report, strict=True):
        assert float(mine["t50_seconds"] or 0) == pytest.approx(float(theirs["t50_seconds"] or 0), abs=6e-4)
    objects = [
        json.loads(line) for part in sorted((result / "verdicts.json").glob("part-*.json")) for line in part.open()
    ]
    assert [one["resolver"] for one in objects] == [line["resolver"] for line in lines]


def test_networks_sum_up(result: Path) -> None:
    networks, verdicts = rows(result, "networks"), rows(result, "verdicts")
    assert {network["network"] for network in networks} >= {"10.0.0.0/24", "10.0.1.0/24"}
    assert any(network["network"].endswith("::/48") for network in networks)
    assert sum(network["resolvers"] for network in networks) == len(verdicts) == 48
    for network in networks:
        inside = [row for row in verdicts if row["network"] == network["network"]]
        assert network["broken"] == sum(row["verdict"] == "broken" for row in inside)
        assert network["queries"] == sum(row["queries"] for row in inside)
        assert network["least_bits"] == min(row["bits"] for row in inside if row["bits"] is not None)


def test_systems_go_by_the_longest_prefix(extract: Path, tmp_path: Path) -> None:
    table = tmp_path / "asn.csv"
    table.write_text("prefix,asn,name\n10.0.0.0/8,64500,A Wide One\n10.0.1.0/24,AS64501\n2001:db8::/32,64502,Six\n")
    judge(extract, "--out", tmp_path / "out", "--by", "asn", "--asn-table", table, "--format", "csv")
    networks = {network["network"]: network["resolvers"] for network in rows(tmp_path / "out", "networks")}
    six = sum(":" in address for address in captures.addresses(48))
    second = sum(address.startswith("10.0.1.") for address in captures.addresses(48))
    assert networks == {"AS64500 A Wide One": 48 - six - second, "AS64501": second, "AS64502 Six": six}
    assert not (tmp_path / "out/verdicts.json").exists()


def test_what_changed_since(result: Path, run: Any, tmp_path: Path) -> None:
    """Who was broken is mended, who was good has a fixed port; one is new, one gone."""
    packets = []
    for number, address in enumerate(captures.addresses(49)[1:], 1):
        habit = {9: 7, 15: 8}.get(number, number)
        often = 700 if number % 3 else 71
        packets += list(captures.resolver(address, habit, often, 1 if habit == number else 5))
    path = tmp_path / "later.pcap"
    captures.write(path, packets)
    run("extract", path, "--out", tmp_path / "extract")
    page = tmp_path / "page.html"
    judge(tmp_path / "extract", "--out", tmp_path / "out", "--before", result, "--html", page)
    told = {row["resolver"]: row for row in rows(tmp_path / "out", "changes")}
    made = captures.addresses(49)
    assert {address: row["change"] for address, row in told.items()} == {
        made[0]: "gone", made[48]: "new", made[9]: "better", made[15]: "worse",
    }  # fmt: skip
    assert told[made[15]]["verdict"] == "broken" and told[made[15]]["bits_before"] > 20
    text = page.read_text()
    assert "1 are worse; 1 are better; 1 are new; 1 are gone." in text


def test_the_page_needs_nothing_from_elsewhere(result: Path) -> None:
    text = (result.parent / "page.html").read_text()
    assert "<h1>48 DNS resolvers</h1>" in text and "<svg" in text
    for outside in ("http://", "https://", "src=", "@import", "url("):
        assert outside not in text


def test_mistakes_are_told_in_one_line(
    extract: Path, result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.parquet"
    pyarrow.dataset.write_dataset(pyarrow.table({"a": [1]}), other, format="parquet")
    table = tmp_path / "table.csv"
    table.write_text("10.0.0.0/8,64500\n10.0.0.0/99,64501\n")
    out = tmp_path / "out"
    for args, code, why in [
        (["judge", tmp_path / "none", "--out", out], 3, "none"),
        (["judge", other, "--out", out], 3, "no extract of dnsalt (column time_ns is missing)"),
        (["judge", extract, "--out", result], 3, "verdicts.parquet"),
        (["judge", extract, "--out", out, "--before", extract], 3, "no result of dnsalt-fleet judge"),
        (["judge", extract, "--out", out, "--by", "asn", "--asn-table", table], 3, f"{table}, line 2: give PREFIX"),
        (["judge", extract, "--out", out, "--by", "asn"], 2, "go together"),
        (["judge", extract, "--out", out, "--format", "xml"], 2, "--format: xml"),
        (["judge", extract, "--out", out, "--html", tmp_path / "no/page.html"], 3, "no such folder"),
        (["judge", extract, "--out", out, "--dnsalt", tmp_path / "missing"], 3, "dnsalt cannot be run"),
        (["judge", extract, "--out", out, "--dnsalt", "/bin/false"], 3, "ended with exit code 1"),
        (["judge", extract, "--out", out, "--attacker", "much"], 3, "--attacker"),
    ]:
        if args[1] != "judge" and "--master" not in args:
            args = [args[0], "--master", "local", *args[1:]]
        assert main([str(arg) for arg in args]) == code, args
        line = capsys.readouterr().err
        assert why in line and line.count("\n") == 1 and line.startswith("dnsalt-fleet: "), (args, line)
        assert not out.exists(), args


def test_nothing_but_the_result_is_said(extract: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dnsalt_fleet.cli", "judge", extract, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("48 resolvers: ") and done.stdout.count("\n") == 1
    # The virtual machine of Java has a word of its own.
    said = [line for line in done.stderr.splitlines() if "incubator modules" not in line]
    assert said == []


def test_spark_submit_says_where_the_cluster_is(extract: Path, tmp_path: Path, capture: Path, checked: Any) -> None:
    """As the guide has it: the package as a file beside its command line, and the master from spark-submit."""
    source, archive = Path(dnsalt_fleet.__file__).parent, tmp_path / "dnsalt_fleet.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", archive, f"{source}/"], check=True)
    script = shutil.copy(source / "cli.py", tmp_path)
    command = [
        Path(pyspark.__file__).parent / "bin/spark-submit", "--master", "local[2]", "--py-files", archive, script,
        "judge", extract, "--out", tmp_path / "out", "--html", tmp_path / "page.html",
    ]  # fmt: skip
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("48 resolvers: ")
    found = {row["resolver"]: exact(row["judgement"]) for row in rows(tmp_path / "out", "verdicts")}
    assert found == checked(capture)
