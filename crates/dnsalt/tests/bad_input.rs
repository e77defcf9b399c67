//! Bad input: one line that says what, where and what to do; exit code 2; nothing changed.

mod common;

use std::process::Command;

use common::{BIN, Ended, dnsalt, network, ruleset};

fn run(args: &[&str]) -> Ended {
    Command::new(BIN).args(args).output().unwrap().into()
}

#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let ended = run(args).exits(2);
    assert_eq!(ended.stdout, "");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
    println!("figure: mistakes in options and files, each told in one line that says where: 1");
}

fn rules<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["rules", "--for", "nft"], options].concat()
}

#[test]
fn options_of_the_policy() {
    for (options, words) in [
        (
            &["--from", "10.0.0.0/33"][..],
            &["--from", "10.0.0.0/33", "is not an address prefix"][..],
        ),
        (&["--from", "10.0.0.1/8"], &["did you mean `10.0.0.0/8`?"]),
        (&["--to", "ns.example"], &["--to", "is not an address prefix"]),
        (&["--ports", "9000-8000"], &["--ports", "did you mean `8000-9000`?"]),
        (&["--ports", "0-100"], &["--ports", "write it like 1024-65535"]),
        (&["--ports", "1024-70000"], &["--ports", "write it like 1024-65535"]),
        (
            &["--ports", "4789-4791", "--avoid", "4000-5000"],
            &["--ports", "empty once `avoid` is taken out"],
        ),
        (&["--ports", "1024-1050"], &["--ports", "leaves 27 ports", "at least 256"]),
        (&["--avoid", "x"], &["--avoid", "is not a port"]),
        (&["--iface", "no such"], &["--iface", "is not an interface name"]),
        (&["--dns-port", "0"], &["`dns-port` 0"]),
        (&["--dns-port", "99999"], &["--dns-port", "99999"]),
        (&["--proto", "sctp"], &["--proto", "use udp, tcp or both"]),
        (&["--source", "eth0"], &["--source", "use masquerade, keep, an address"]),
        (&["--source", "127.0.0.1"], &["cannot be a source address"]),
        (&["--source", "2001:db8::1", "--from", "10.0.0.0/8"], &["--source", "is IPv6"]),
        (&["--from", "10.0.0.0/8", "--to", "2001:db8::/32"], &["no address family in common"]),
        (&["--timeout", "900"], &["`timeout` 900 is out of range"]),
        (&["--lockdown-unsolicited", "many"], &["--lockdown-unsolicited", "many"]),
        (
            &["--lockdown-unsolicited", "4294967296"],
            &["`lockdown-unsolicited` 4294967296 is out of range; use 0 to 1000000000"],
        ),
        (&["--per-query", "--proto", "tcp"], &["--per-query", "UDP only"]),
        (&["--form", "10.0.0.0/8"], &["--form", "did you mean `--from`?"]),
    ] {
        refused(&rules(options), words);
    }
    refused(&["rules", "--for", "ipfw"], &["ipfw", "nft, iptables, pf-openbsd, pf-freebsd"]);
    refused(&["rules", "--for", "iptables", "--per-query"], &["`per-query` needs nftables"]);
    refused(&["rules"], &["--for"]);
    refused(&["stauts"], &["did you mean `status`?"]);
    refused(&["up", "--confirm", "soon"], &["--confirm", "write it like 60s"]);
    refused(&["up", "--backend", "ufw"], &["is not a backend; use auto, nft"]);
    refused(&["prove", "--server", "ns.example"], &["--server", "give an address"]);
    refused(&["prove", "--count", "1"], &["--count", "2..=1000"]);
}

#[test]
fn configuration_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dnsalt.toml");
    let path = file.to_str().unwrap();
    for (text, place, words) in [
        ("# x\nform = ['10.0.0.0/8']\n", ":2:1: ", "unknown key `form`; did you mean `from`?"),
        ("\n\nfrom = ['10.0.0.0/40']\n", ":3:8: ", "is not an address prefix"),
        ("ports = 1024\n", ":1:9: ", "invalid type"),
        ("ports = '4789'\navoid = [4789]\n", ":1:1: ports: ", "empty once `avoid` is taken out"),
        ("per-query = yes\n", ":1:13: ", ""),
        ("proto = ['udp'\n", ":1:15: ", ""),
        ("source = '2001:db8::1'\nfrom = ['10.0.0.0/8']\n", ":1:1: source: ", "is IPv6"),
    ] {
        std::fs::write(&file, text).unwrap();
        refused(&rules(&["--config", path]), &[&format!("{path}{place}"), words]);
    }
    // The command line wins, and is what the message names then.
    std::fs::write(&file, "avoid = ['1-65535']\n").unwrap();
    refused(&rules(&["--config", path, "--ports", "5000-6000"]), &["--ports: "]);
    run(&rules(&["--config", path, "--avoid", "none"])).exits(0);
    refused(&rules(&["--config", "/does/not/exist.toml"]), &["/does/not/exist.toml"]);
}

#[test]
fn the_sample_configuration_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dnsalt.toml");
    let sample = run(&["config", "--sample"]).exits(0).stdout;
    std::fs::write(&file, &sample).unwrap();
    let with = run(&rules(&["--config", file.to_str().unwrap()])).exits(0);
    assert_eq!(with.stdout, run(&rules(&[])).exits(0).stdout);
    for line in sample.lines() {
        assert!(line.len() <= 80, "{line}");
    }
}

#[test]
fn an_interface_that_is_not_there_changes_nothing() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &["up", "--iface", "wan0"]).exits(0);
    let before = ruleset(gateway);
    let unknown = dnsalt(gateway, &["up", "--iface", "wan1"]).exits(2);
    assert!(unknown.stderr.contains("no interface `wan1` here; there are"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("wan0"), "{}", unknown.stderr);
    dnsalt(gateway, &["up", "--from", "10.0.0.1/8"]).exits(2);
    assert_eq!(ruleset(gateway), before);
    dnsalt(gateway, &["status"]).exits(0);
}

/// Nobody but root may: said at once and in words. `setpriv` takes the rights away.
#[test]
fn without_root_it_says_so() {
    let Some(network) = network(&["nft", "setpriv"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    for verb in ["up", "down", "status", "confirm", "prove"] {
        let words = [
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--reuid=65534",
            "--clear-groups",
            BIN,
            verb,
        ];
        let ended = Ended::from(gateway.command("setpriv").args(words).output().unwrap());
        if ended.stderr.contains("Permission denied") && !ended.stderr.contains("dnsalt:") {
            eprintln!("skipped: nobody may not run {BIN}");
            return;
        }
        let ended = ended.exits(3);
        assert!(
            ended.stderr.contains("needs root (CAP_NET_") && ended.stderr.contains("sudo"),
            "{}",
            ended.stderr
        );
    }
    let dry = ["--reuid=65534", "--clear-groups", BIN, "up", "--dry-run"];
    let dry = Ended::from(gateway.command("setpriv").args(dry).output().unwrap()).exits(0);
    assert!(dry.stdout.contains("table inet dnsalt"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let script = format!(
        "{BIN} rules --for iptables --source 192.0.2.0-192.0.2.255 | head -n 1; exit ${{PIPESTATUS[0]}}"
    );
    let ended: Ended = Command::new("bash").args(["-c", &script]).output().unwrap().into();
    assert_eq!(ended.exits(0).stderr, "");
}
