//! `dnsalt lab attack`: real resolvers fall, or hold, as the scenarios say.

mod common;

use std::process::{Command, Output};

use common::{BIN, can_run};
use serde_json::Value;

fn attack(args: &[&str]) -> Output {
    Command::new(BIN).args(["lab", "attack"]).args(args).output().unwrap()
}

/// Runs a scenario: the race. None, with the reason said, where it cannot be run.
fn race(name: &str, programs: &[&str]) -> Option<Value> {
    let needed = [&["ip", "nft", "tc"], programs].concat();
    if !can_run(&needed) {
        return None;
    }
    let output = attack(&["--json", "--scenario", name]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{name}: {why}: {stderr}"));
    assert_eq!(report["skipped"].as_array().unwrap().len(), 0, "{report:#}");
    let race = report["races"][0].clone();
    println!("{name}: {race:#}");
    Some(race)
}

#[track_caller]
fn is_as_expected(name: &str, programs: &[&str]) {
    let Some(race) = race(name, programs) else { return };
    let all = race["expectations"].as_array().unwrap();
    assert!(!all.is_empty() && all.iter().all(|one| one["met"] == true), "{race:#}");
}

/// As the formula says, within so many deviations that chance alone does that once in 15,000 times; the
/// scenario itself takes three.
#[track_caller]
fn agrees(name: &str) {
    let Some(race) = race(name, &["named"]) else { return };
    let value = |value: &Value| value.as_f64().unwrap();
    let (attacked, p) = (&race["attacked"], value(&race["predicted"]["window"]));
    let (windows, hits) = (value(&attacked["windows"]), value(&attacked["hits"]));
    let deviations = (hits - windows * p) / (windows * p * (1.0 - p)).sqrt();
    assert!(windows >= 200.0 && deviations.abs() < 4.0, "{deviations}: {race:#}");
}

#[test]
fn a_fixed_port_of_bind_is_poisoned_in_two_minutes() {
    is_as_expected("bind-fixed", &["named"]);
}

#[test]
fn a_fixed_port_of_dnsmasq_is_poisoned() {
    is_as_expected("dnsmasq-fixed", &["dnsmasq"]);
}

#[test]
fn the_legacy_resolver_loses_the_whole_zone_at_once() {
    let Some(race) = race("legacy", &[]) else { return };
    let poisoned = &race["attacked"]["poisoned"];
    assert_eq!((&poisoned["cached"], &poisoned["whole_zone"]), (&true.into(), &true.into()));
    assert!(poisoned["window"].as_u64().unwrap() <= 3, "{race:#}");
}

#[test]
fn unbound_holds_by_itself() {
    is_as_expected("unbound", &["unbound"]);
}

#[test]
fn the_nat_engine_holds_against_a_spray() {
    is_as_expected("nat-spray", &["named"]);
}

#[test]
fn the_salt_engine_holds_against_a_spray() {
    is_as_expected("salt-spray", &["named"]);
}

#[test]
fn the_salt_engine_protects_the_legacy_resolver() {
    is_as_expected("salt-legacy", &[]);
}

/// Told the ID and with packets for every port, who forges meets both in each window.
#[test]
fn a_cookie_holds_where_port_and_id_are_met() {
    is_as_expected("salt-cookies", &["unbound"]);
    let known = include_str!("../../dnsalt-lab/scenarios/salt-cookies.toml");
    let without = known.replace("policy.cookies = \"on\"", "policy.cookies = \"off\"");
    let without = without.replace("poisoned = false", "poisoned = true");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("without-cookies.toml");
    std::fs::write(&file, without).unwrap();
    is_as_expected(file.to_str().unwrap(), &["unbound"]);
}

#[test]
fn a_scan_finds_the_port_of_the_recipe_and_of_no_engine() {
    is_as_expected("recipe-scan", &["named"]);
    is_as_expected("nat-scan", &["named"]);
    is_as_expected("salt-scan", &["named"]);
}

#[test]
fn the_recipe_is_steered_and_the_nat_engine_is_not() {
    is_as_expected("recipe-steer", &["named"]);
    is_as_expected("nat-steer", &["named"]);
}

#[test]
fn the_share_of_windows_that_are_won_is_what_the_formula_says() {
    agrees("measure-nat-256");
    agrees("measure-salt-512");
    agrees("measure-pool-1024");
}

#[test]
fn after_the_first_near_miss_no_guess_counts() {
    is_as_expected("measure-taint", &["named"]);
}

#[test]
fn the_page_has_it_all() {
    if !can_run(&["ip", "nft"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    let output = attack(&["--scenario", "legacy", "--html", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let page = std::fs::read_to_string(file).unwrap();
    for part in ["legacy resolver", "<svg", "the whole zone", "RFC 5452", "</html>"] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["http://", "https://", "<script", "src="] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn what_cannot_be_run_is_told_before_anything_is_made() {
    for (args, expected) in [
        (
            &["--scenario", "no-such"][..],
            "dnsalt: no-such: no such file, and no scenario of that name\n",
        ),
        (&["--for", "soon"], "for '--for <TIME>'"),
    ] {
        let output = attack(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected), "{said}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
    let output = attack(&["--list"]);
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(listed.lines().count() == 24 && listed.contains("salt-spray"), "{listed}");
}
