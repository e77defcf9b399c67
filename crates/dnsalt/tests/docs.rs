//! What the documents say: links lead somewhere, and every command in them runs, or at least exists.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::capture::{self, Packet, Random};
use common::documents::{Document, documents, root};
use common::{BIN, Network, dnsalt, mount_bpffs, network, salt};
use dnsalt_lab::Host;
use serde_json::Value;

/// Where commands are run.
const HERE: &str = "/run/docs";

#[test]
fn links_lead_somewhere() {
    let all = documents();
    let mut broken = Vec::new();
    for document in &all {
        for (line, link) in document.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            if file.contains("://") {
                continue;
            }
            let folder = root().join(&document.path).parent().unwrap().to_owned();
            let path =
                if file.is_empty() { root().join(&document.path) } else { folder.join(file) };
            let target = path.canonicalize().ok();
            let of = |other: &&Document| Some(root().join(&other.path)) == target;
            let known = anchor.is_empty()
                || all
                    .iter()
                    .find(of)
                    .is_some_and(|other| other.anchors().iter().any(|a| a == anchor));
            if target.is_none() || !known {
                broken.push(format!("{}:{line}: {link}", document.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The book has all of docs/, and nothing else.
#[test]
fn the_book_is_whole() {
    let all = documents();
    let summary = all.iter().find(|one| one.path == Path::new("docs/SUMMARY.md")).unwrap();
    let listed: Vec<_> = summary.links().into_iter().map(|(_, link)| link).collect();
    for document in all.iter().filter(|one| one.path.starts_with("docs")) {
        let inside = document.path.strip_prefix("docs").unwrap().to_str().unwrap();
        let is_there = inside == "SUMMARY.md" || listed.iter().any(|link| link == inside);
        assert!(is_there, "docs/SUMMARY.md does not list {inside}");
        for (line, link) in document.links() {
            let up = link.split('/').filter(|part| *part == "..").count();
            let depth = Path::new(inside).components().count() - 1;
            assert!(up <= depth, "docs/{inside}:{line}: {link} is not in the book");
        }
    }
}

#[test]
fn tests_that_are_named_exist() {
    let path = root().join("docs/reference/compliance.md");
    let text = std::fs::read_to_string(path).unwrap();
    let lists = text.split("ested by").skip(1).map(|rest| rest.split("\n## ").next().unwrap());
    let mut named: BTreeSet<_> =
        lists.flat_map(|list| list.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    assert!(named.len() > 10, "{named:?}");
    for folder in ["dnsalt", "dnsalt-bpf", "dnsalt-salt"] {
        for entry in std::fs::read_dir(root().join("crates").join(folder).join("tests")).unwrap() {
            let source = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            named.retain(|test| !source.contains(&format!("fn {test}()")));
        }
    }
    assert!(named.is_empty(), "no such tests: {named:?}");
}

/// Every key of what is printed as JSON is documented.
#[test]
fn json_is_documented() {
    let Some(network) = network(&["nft"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    prepare_files(gateway);
    let page =
        |name: &str| std::fs::read_to_string(root().join("docs/reference").join(name)).unwrap();
    let (output, check) = (page("output.md"), page("check.md"));
    let mut missing = Vec::new();
    let mut look = |args: &[&str], page: &str, opaque: &[&str]| {
        let printed = dnsalt(gateway, args).stdout;
        let json = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{args:?}: {printed}"));
        let mut keys = BTreeSet::new();
        keys_of(&json, opaque, &mut keys);
        let unknown = keys.into_iter().filter(|key| !page.contains(&format!("`{key}`")));
        missing.extend(unknown.map(|key| format!("{args:?}: {key}")));
    };
    look(&["prove", "--json", "-n", "2"], &output, &[]);
    look(&["status", "--json"], &output, &[]);
    salt(&network, &[]).exits(0);
    look(&["status", "--json"], &output, &["settings", "counters"]);
    dnsalt(gateway, &["up"]).exits(0);
    look(&["status", "--json"], &output, &["settings"]);
    look(&["check", "--json", &format!("{HERE}/captures")], &check, &[]);
    assert!(missing.is_empty(), "{missing:#?}");
}

fn keys_of(json: &Value, opaque: &[&str], keys: &mut BTreeSet<String>) {
    match json {
        Value::Object(members) => {
            for (key, value) in members {
                keys.insert(key.clone());
                if !opaque.contains(&key.as_str()) {
                    keys_of(value, opaque, keys);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys_of(value, opaque, keys)),
        _ => {}
    }
}

/// Those that are not run here as well.
#[test]
fn commands_exist() {
    let mut wrong = Vec::new();
    let mut verbs = BTreeSet::new();
    for document in documents() {
        for block in document.blocks() {
            for command in &block.commands {
                for words in calls(command) {
                    verbs.extend(words.get(1).cloned());
                    if let Err(why) = dnsalt::cli::command().try_get_matches_from(&words)
                        && why.use_stderr()
                    {
                        let place = format!("{}:{}", document.path.display(), block.line);
                        wrong.push(format!("{place}: {command}\n{why}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let command = dnsalt::cli::command();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        assert!(verbs.contains(verb.get_name()), "no document shows `dnsalt {}`", verb.get_name());
    }
}

/// The calls of `dnsalt` in a line of a shell, word by word.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default().replace(['\'', '"'], "");
    let simple = line.split(['|', ';', '>', '<', '(', ')', '&']);
    let words = simple.map(|call| call.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    words
        .filter_map(|words| {
            let at = words.iter().position(|word| word == "dnsalt")?;
            // Not a package, a unit or a folder of that name.
            let runs = words[..at].iter().all(|word| word == "sudo" || word.contains('='));
            runs.then(|| words[at..].to_vec())
        })
        .collect()
}

#[test]
fn commands_run() {
    let Some(network) = network(&["nft", "tcpdump", "gzip", "script"]) else { return };
    prepare(&network);
    let mut failed = Vec::new();
    for document in documents() {
        for block in document.blocks() {
            if block.not_run.is_some() {
                continue;
            }
            for command in &block.commands {
                let place = format!("{}:{}: {command}", document.path.display(), block.line);
                if !is_ours(command) {
                    failed.push(format!("{place}: no business of a test: <!-- not run: WHY -->"));
                    continue;
                }
                let (code, said) = run(&network, command);
                if !is_fine(command, code) {
                    let end = said.chars().count().saturating_sub(800);
                    let said: String = said.chars().skip(end).collect();
                    failed.push(format!("{place}: exit code {code}\n{said}"));
                }
            }
        }
        run(&network, "dnsalt down");
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What the documents take for granted: addresses, interfaces and files of these names.
fn prepare(network: &Network) {
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    gateway
        .sh(&format!(
            "mkdir -p {HERE}/bin && ln -s {BIN} {HERE}/bin/dnsalt
             printf '#!/bin/sh\\nexec \"$@\"\\n' > {HERE}/bin/sudo && chmod +x {HERE}/bin/sudo
             mount --bind /run/bpf /sys/fs/bpf
             for name in eth0 wan; do
                 ip link add $name type veth peer name $name-peer
                 ip link set $name up && ip link set $name-peer up
             done
             ip address add 192.168.1.1/24 dev lan0
             for last in 4 5 6 7; do ip address add 203.0.113.$last/32 dev wan0; done"
        ))
        .unwrap();
    network.net.upstream.route("203.0.113.0/24", "10.53.2.1".parse().unwrap()).unwrap();
    network.net.upstream.route("192.168.1.0/24", "10.53.2.1".parse().unwrap()).unwrap();
    prepare_files(gateway);
}

fn prepare_files(gateway: &Host) {
    gateway.sh(&format!("mkdir -p {HERE}/captures")).unwrap();
    gateway.run(|| {
        let mut random = Random(1);
        let packets: Vec<_> = (1..500)
            .flat_map(|n| {
                let query = Packet::query(n * 1_000_000, 7, random.port(), random.id());
                [query.answered(), query]
            })
            .collect();
        for name in ["capture.pcapng", "a.pcap", "lan.pcap", "wan.pcap", "resolver.pcap"] {
            capture::write(&Path::new(HERE).join(name), &packets);
        }
        capture::write(&Path::new(HERE).join("captures/monday.pcap"), &packets);
    });
    gateway.sh(&format!("gzip {HERE}/a.pcap")).unwrap();
}

/// Whether a line may be run on a host of the lab, which shares the machine's files.
fn is_ours(line: &str) -> bool {
    let first = line.trim_start_matches("sudo ").split_whitespace().next();
    matches!(first, Some("dnsalt" | "tcpdump" | "ip" | "nft"))
}

/// What goes on until somebody ends it, as the tests do soon.
const ENDLESS: [&str; 4] = ["--for ", "tcpdump ", "dnsalt watch", "dnsalt run"];

fn is_endless(line: &str) -> bool {
    ENDLESS.iter().any(|word| line.contains(word))
}

/// 1 is what verbs say of what they found, not of themselves; 130 what a shell says that was ended.
fn is_fine(line: &str, code: i32) -> bool {
    code == 0 || (code == 1 && !calls(line).is_empty()) || (code == 130 && is_endless(line))
}

/// Runs a line in a terminal, which some want; its exit code and what it said.
fn run(network: &Network, line: &str) -> (i32, String) {
    let seconds = if is_endless(line) { 3 } else { 30 };
    // In the background of a terminal nothing can be read from it; and only one process is ended.
    let watches = line.contains("dnsalt watch");
    let (foreground, exec) = if watches { ("--foreground", "exec ") } else { ("", "") };
    let limited = format!(
        "stty rows 24 cols 80; \
         timeout {foreground} --signal=INT --preserve-status --kill-after=20 {seconds} sh -c \"{exec}$LINE\""
    );
    let ended = network
        .net
        .gateway
        .command("sh")
        .args([
            "-c",
            "cd \"$0\" && PATH=$0/bin:$PATH && exec script -qec \"$1\" /dev/null < /dev/null",
        ])
        .args([HERE, &limited])
        .env("LINE", line)
        .env("TERM", "xterm")
        .output()
        .unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}
