//! `dnsalt check` on captures that the test makes: verdicts, forms of the report, damage, states.

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use common::capture::{self, Packet, Random};
use common::{BIN, Ended};
use serde_json::Value;
use tempfile::TempDir;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_790_000_000 * SECOND;

fn check(args: &[&str]) -> Ended {
    Command::new(BIN).arg("check").args(args).output().unwrap().into()
}

fn json(args: &[&str]) -> Value {
    let ended = check(&[args, &["--json"]].concat());
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
}

/// Queries every 20 ms with their replies.
fn exchange(client: u8, n: u64, mut draw: impl FnMut(&mut Random) -> (u16, u16)) -> Vec<Packet> {
    let mut random = Random(u64::from(client));
    (0..n)
        .flat_map(|i| {
            let (port, id) = draw(&mut random);
            let query = Packet::query(START + i * SECOND / 50, client, port, id);
            let reply = query.answered();
            [query, reply]
        })
        .collect()
}

fn fixed_port(client: u8, n: u64) -> Vec<Packet> {
    exchange(client, n, |random| (44_444, random.id()))
}

fn good(client: u8, n: u64) -> Vec<Packet> {
    exchange(client, n, |random| (random.port(), random.id()))
}

fn counting(client: u8, n: u64) -> Vec<Packet> {
    let mut id = 65_500_u16;
    exchange(client, n, |random| {
        id = id.wrapping_add(1);
        (random.port(), id)
    })
}

fn file(folder: &TempDir, name: &str, packets: &[Packet]) -> String {
    let mut packets = packets.to_vec();
    packets.sort_by_key(|packet| packet.time);
    let path = folder.path().join(name);
    capture::write(&path, &packets);
    path.to_str().unwrap().to_owned()
}

fn resolver<'a>(report: &'a Value, address: &str) -> &'a Value {
    let all = report["resolvers"].as_array().unwrap();
    all.iter()
        .find(|one| one["address"] == address)
        .unwrap_or_else(|| panic!("{address}: {report}"))
}

#[test]
fn the_weak_are_found_and_explained_worst_first() {
    let folder = tempfile::tempdir().unwrap();
    let all = [fixed_port(1, 60), good(2, 60), counting(3, 60), good(4, 7)].concat();
    let path = file(&folder, "mixed.pcap", &all);
    let ended = check(&[&path]).exits(1);
    assert!(ended.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ended.stdout);
    let order: Vec<usize> = ["10.0.0.3 ", "10.0.0.1 ", "10.0.0.2 "]
        .map(|name| ended.stdout.find(name).unwrap())
        .to_vec();
    assert!(order.is_sorted(), "{}", ended.stdout);
    for words in [
        "374 packets, 187 queries, 187 replies.",
        "Every query leaves from port 44444.",
        "Query IDs count up by one; the next one is known.",
        "2 broken, 1 fair, 1 with too few queries to tell",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("10.0.0.4"), "too few to list: {}", ended.stdout);
    assert_eq!(ended.stderr, "");
    check(&[&file(&folder, "good.pcap", &good(2, 60))]).exits(0);
}

#[test]
fn json_has_the_numbers_and_the_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let report = json(&[&file(&folder, "a.pcap", &[counting(3, 60), good(2, 60)].concat())]);
    assert_eq!(report["schema"], 1);
    let weak = resolver(&report, "10.0.0.3");
    assert_eq!(weak["overall"]["verdict"], "broken");
    assert_eq!(weak["overall"]["target"]["ids"], 1.0);
    let finding = &weak["overall"]["findings"][0];
    assert_eq!(finding["name"], "sequential-id");
    let predicted = &finding["evidence"]["predicted"];
    assert_eq!(predicted["made"], predicted["right"]);
    assert!(predicted["right"].as_u64().unwrap() >= 8);
    for pair in predicted["shown"].as_array().unwrap() {
        assert_eq!(pair[0], pair[1]);
    }
    let fine = resolver(&report, "10.0.0.2");
    assert_eq!(fine["overall"]["verdict"], "fair");
    assert_eq!(fine["counters"]["answered"], 60);
    // 65,536 IDs and about 64,512 ports at 125,000 packets a second: about 6.5 hours.
    let t50 = fine["overall"]["t50"].as_f64().unwrap();
    assert!((18_000.0..26_000.0).contains(&t50), "{t50}");
}

#[test]
fn the_attacker_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "a.pcap", &good(2, 60));
    let t50 = |args: &[&str]| {
        let report = json(&[&[path.as_str()], args].concat());
        resolver(&report, "10.0.0.2")["overall"]["t50"].as_f64().unwrap()
    };
    let base = t50(&[]);
    assert!((t50(&["--attacker", "1Gbit"]) * 10.0 / base - 1.0).abs() < 1e-9);
    assert!((t50(&["--attacker", "125000pps"]) / base - 1.0).abs() < 1e-9);
    assert!((t50(&["--servers", "4"]) / base - 4.0).abs() < 1e-9);
}

#[test]
fn min_entropy_is_a_side_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "a.pcap", &[good(2, 60), fixed_port(1, 60)].concat());
    assert!(resolver(&json(&[&path]), "10.0.0.2")["min_entropy"].is_null());
    let report = json(&[&path, "--min-entropy"]);
    let of_ports = |address: &str| {
        resolver(&report, address)["min_entropy"][0]["most_common_value"].as_f64().unwrap()
    };
    assert!(of_ports("10.0.0.2") > 2.0 && of_ports("10.0.0.1") < 1e-9, "{report}");
}

#[test]
fn retransmissions_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut packets = Vec::new();
    for query in good(2, 60).into_iter().filter(|packet| !packet.reply) {
        for again in 0..3 {
            packets.push(Packet { time: query.time + again * SECOND, ..query.clone() });
        }
    }
    let report = json(&[&file(&folder, "a.pcap", &packets)]);
    let resolver = resolver(&report, "10.0.0.2");
    assert_eq!(resolver["counters"]["queries"], 180);
    assert_eq!(resolver["counters"]["retransmissions"], 120);
    assert_eq!(resolver["overall"]["sample"], 60);
    assert_eq!(resolver["overall"]["verdict"], "fair");
}

#[test]
fn identical_questions_outstanding_are_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mut packets = good(2, 60);
    let mut random = Random(99);
    for i in 0..20 {
        let mut query = Packet::query(START + 2 * SECOND + i * 1000, 2, random.port(), random.id());
        query.name = "birthday.test".into();
        packets.push(query);
    }
    let ended = check(&[&file(&folder, "a.pcap", &packets)]).exits(1);
    let words = "20 identical queries were outstanding at a time";
    assert!(ended.stdout.replace("\n  ", " ").contains(words), "{}", ended.stdout);
}

#[test]
fn replies_that_match_no_query_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut packets = good(2, 500);
    let asked: Vec<Packet> = packets.iter().filter(|packet| !packet.reply).cloned().collect();
    // Forged in the quarter of a millisecond in which the query is outstanding, in the seventh second.
    for (i, query) in asked[350..390].iter().enumerate() {
        let mut forged = Packet { time: query.time + 100_000, reply: true, ..query.clone() };
        match i % 4 {
            0 => forged.id ^= 0x55,
            1 => forged.name = "other.test".into(),
            2 => forged.server = [192, 0, 2, 99],
            _ => forged.port ^= 1,
        }
        packets.push(forged);
    }
    let report = json(&[&file(&folder, "a.pcap", &packets)]);
    let counters = &resolver(&report, "10.0.0.2")["counters"];
    assert_eq!(counters["answered"], 500);
    assert_eq!((&counters["wrong_id"], &counters["wrong_question"]), (&10.into(), &10.into()));
    assert_eq!(counters["wrong_server"], 10);
    // Of the last query from a port nothing is known any more once another took its place.
    assert!((8..=10).contains(&counters["wrong_port"].as_u64().unwrap()), "{counters}");
}

#[test]
fn files_folders_and_standard_input_are_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    let all = [fixed_port(1, 60), good(2, 60)].concat();
    let path = file(&folder, "a.pcap", &all);
    let expected = json(&[&path]);
    assert_eq!(json(&[folder.path().to_str().unwrap()]), expected);
    let mut child = Command::new(BIN)
        .args(["check", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&path).unwrap()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&ended.stdout).unwrap(), expected);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    // More than 8 MB, so that it is read in stretches.
    let clients: Vec<Vec<Packet>> = (1..=40).map(|client| good(client, 1400)).collect();
    let path = file(&folder, "a.pcap", &clients.concat());
    assert!(std::fs::metadata(&path).unwrap().len() > 8 << 20);
    let one = json(&[&path, "--threads", "1"]);
    assert_eq!(one["totals"]["packets"], 112_000);
    for threads in ["2", "3", "8"] {
        assert_eq!(json(&[&path, "--threads", threads]), one, "{threads} threads");
    }
}

#[test]
fn damaged_files_are_read_as_far_as_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "cut.pcap", &fixed_port(1, 60));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    for threads in ["1", "2"] {
        let ended = check(&[&path, "--threads", threads]).exits(3);
        assert!(ended.stdout.contains("119 packets"), "{}", ended.stdout);
        assert!(ended.stdout.contains("broken"), "{}", ended.stdout);
        assert!(ended.stderr.contains("the file ends within a packet"), "{}", ended.stderr);
    }
    let other = folder.path().join("other");
    std::fs::write(&other, "no capture").unwrap();
    let whole = file(&folder, "whole.pcap", &good(2, 60));
    let ended = check(&[&path.replace("cut", "none"), other.to_str().unwrap(), &whole]).exits(3);
    assert!(ended.stderr.contains("none.pcap: No such file"), "{}", ended.stderr);
    assert!(ended.stderr.contains("(and 1 more)"), "{}", ended.stderr);
    assert!(ended.stdout.contains("120 packets"), "what can be read is: {}", ended.stdout);
    let ended = check(&[other.to_str().unwrap()]).exits(3);
    assert!(ended.stderr.contains("not a capture file"), "{}", ended.stderr);
    check(&[]).exits(2);
    let ended = check(&[&whole, "--html", "/nonexistent/report.html"]).exits(3);
    assert!(ended.stderr.contains("/nonexistent/report.html: No such file"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "told before the work");
}

#[test]
fn a_capture_that_was_cut_at_every_packet_still_counts() {
    let folder = tempfile::tempdir().unwrap();
    let whole = capture::pcap(&fixed_port(1, 60));
    // Header of IP, UDP and DNS, and not a byte more: tcpdump -s 40.
    let mut cut = whole[..24].to_vec();
    let mut at = 24;
    while at < whole.len() {
        let length = u32::from_le_bytes(whole[at + 8..at + 12].try_into().unwrap()) as usize;
        cut.extend_from_slice(&whole[at..at + 8]);
        cut.extend_from_slice(&40_u32.to_le_bytes());
        cut.extend_from_slice(&whole[at + 12..at + 16 + 40]);
        at += 16 + length;
    }
    let path = folder.path().join("cut.pcap");
    std::fs::write(&path, cut).unwrap();
    let report = json(&[path.to_str().unwrap()]);
    assert_eq!(report["totals"]["malformed"], 0);
    assert_eq!(resolver(&report, "10.0.0.1")["counters"]["queries"], 60);
    assert_eq!(resolver(&report, "10.0.0.1")["overall"]["verdict"], "broken");
}

#[test]
fn states_of_two_machines_are_judged_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let all = [counting(3, 200), good(2, 200)].concat();
    let whole = json(&[&file(&folder, "all.pcap", &all)]);
    let states: Vec<String> = [(0, 300), (300, 500), (500, 800)]
        .into_iter()
        .map(|(from, to)| {
            let part = file(&folder, &format!("{from}.pcap"), &all[from..to]);
            let state = folder.path().join(format!("{from}.state")).to_str().unwrap().to_owned();
            check(&[&part, "--state-out", &state]);
            state
        })
        .collect();
    let forth = json(&["--merge", &states[0], &states[1], &states[2]]);
    let back = json(&["--merge", &states[2], &states[0], &states[1]]);
    assert_eq!(forth, back);
    assert_eq!(forth["resolvers"], whole["resolvers"]);
    let ended = check(&["--merge", &file(&folder, "b.pcap", &all)]).exits(3);
    assert!(ended.stderr.contains("not a state file"), "{}", ended.stderr);
}

#[test]
fn html_and_csv_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "a.pcap", &[fixed_port(1, 60), good(2, 60)].concat());
    let page = folder.path().join("report.html");
    check(&[&path, "--html", page.to_str().unwrap()]).exits(1);
    let html = std::fs::read_to_string(&page).unwrap();
    for words in ["10.0.0.1", "Every query leaves from port 44444.", "<svg", "</html>"] {
        assert!(html.contains(words), "{words}");
    }
    // Nothing is fetched from anywhere.
    for foreign in ["http:", "https:", "<script", "src=", "@import", "url("] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    let csv = check(&[&path, "--csv"]).exits(1).stdout;
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows.len(), 3);
    assert!(rows[0].starts_with("resolver,verdict,t50_seconds"));
    assert!(rows[1].starts_with("10.0.0.1,broken,0.363,"), "{}", rows[1]);
    assert_eq!(rows[1].matches(',').count(), rows[0].matches(',').count(), "{}", rows[1]);
}

#[test]
fn both_sides_of_a_nat_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let inside = good(2, 200);
    let translated = |port: &mut dyn FnMut(&Packet) -> u16| -> Vec<Packet> {
        inside
            .iter()
            .map(|packet| Packet {
                client: [198, 51, 100, 7],
                time: packet.time + 30_000,
                port: port(packet),
                ..packet.clone()
            })
            .collect()
    };
    let mut random = Random(5);
    let (mut next, mut pick) = (20_000_u16, Random(6));
    let cases: [(&str, i32, Vec<Packet>); 4] = [
        ("preserves", 0, translated(&mut |packet| packet.port)),
        ("randomises", 0, translated(&mut |_| random.port())),
        (
            "derandomises",
            1,
            translated(&mut |packet| {
                next += u16::from(!packet.reply);
                next
            }),
        ),
        ("limits", 1, translated(&mut |_| 5000 + pick.id() % 512)),
    ];
    let inner = file(&folder, "inside.pcap", &inside);
    for (effect, code, outside) in cases {
        let outer = file(&folder, "outside.pcap", &outside);
        let ended = check(&["--inside", &inner, "--outside", &outer]).exits(code);
        assert!(ended.stdout.contains(&format!("It {effect}")), "{effect}: {}", ended.stdout);
        assert!(ended.stdout.contains("200 of them the same"), "{}", ended.stdout);
    }
    let ended =
        check(&["--inside", &inner, "--outside", &file(&folder, "x", &good(9, 9))]).exits(3);
    assert!(ended.stderr.contains("too few to tell"), "{}", ended.stderr);
    check(&["--inside", &inner]).exits(2);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let clients: Vec<Vec<Packet>> = (1..=200).map(|client| fixed_port(client, 6)).collect();
    let path = file(&folder, "a.pcap", &clients.concat());
    let mut child = Command::new(BIN)
        .args(["check", "--all", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
    assert!(Path::new(&path).exists());
}
