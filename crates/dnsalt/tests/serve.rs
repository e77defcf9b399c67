//! `dnsalt serve`: real resolvers find it by a real delegation, and are told what they are worth.

mod common;

use std::time::Duration;

use common::delegated::{Net, net};
use common::unpacked::{is_there, lay_over};
use common::{BIN, can_run};
use dnsalt_lab::Running;
use serde_json::Value;

/// What a resolver is told of itself; the alias that stands before it left away.
fn told(net: &Net, name: &str) -> String {
    let said = net.dig(&format!("{name}.t.example TXT"));
    println!("{said}");
    let text = said.lines().find(|line| line.starts_with('"')).unwrap_or_default().to_owned();
    assert!(!text.is_empty(), "{name}: {said}");
    text
}

/// The same as JSON, put together from its pieces.
fn json(net: &Net) -> Value {
    let told = told(net, "check");
    let text = told.trim_matches('"').replace("\" \"", "").replace("\\\"", "\"");
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// Queries of the first test, by the words of its answer.
fn queries(told: &str) -> u32 {
    let (_, behind) = told.split_once(": ").unwrap();
    behind.split_once(" queries").unwrap().0.parse().unwrap()
}

#[track_caller]
fn is_great(net: &Net) -> Value {
    let ports = told(net, "porttest");
    assert!(ports.starts_with("\"10.9.0.9 is GREAT: ") && queries(&ports) >= 26, "{ports}");
    let ids = told(net, "txidtest");
    assert!(ids.contains("10.9.0.9 is GREAT: ") && ids.contains(" txids with std dev "), "{ids}");
    let json = json(net);
    assert!(["fair", "strong"].contains(&json["verdict"].as_str().unwrap()), "{json}");
    assert!(json["port_bits"].as_f64().unwrap() > 11.0 && json["id_bits"].as_f64().unwrap() > 14.0);
    json
}

#[test]
fn bind_is_told_that_it_is_great_and_with_a_fixed_port_that_it_is_poor() {
    let Some(net) = net(&[]) else { return };
    let bind = net.bind("");
    let great = is_great(&net);
    assert_eq!((&great["cookies"], &great["resolver"]), (&true.into(), &"10.9.0.9".into()));
    drop(bind);
    let _bind = net.bind("query-source address * port 33333; send-cookie no;");
    let poor = told(&net, "porttest");
    assert!(poor.starts_with("\"10.9.0.9 is POOR: ") && queries(&poor) >= 26, "{poor}");
    assert!(poor.contains(" from 1 ports with std dev 0\"") && poor.contains("verdict: broken"));
    assert!(poor.contains("query-source"), "{poor}");
    assert_eq!(json(&net)["verdict"], "broken");
    // Whoever watches there sees the same without a test of its own.
    let watch = net.server.command(BIN).args(["check", "--iface", "eth0", "--for", "5s", "--json"]);
    let watch = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch.output().unwrap());
        std::thread::sleep(Duration::from_secs(2));
        told(&net, "txidtest");
        watch.join().unwrap()
    });
    let report: Value = serde_json::from_slice(&watch.stdout).unwrap();
    let one = &report["resolvers"][0];
    assert_eq!(
        (&one["address"], &one["overall"]["verdict"]),
        (&"10.9.0.9".into(), &"broken".into())
    );
}

#[test]
fn unbound_is_great_and_its_random_case_is_seen() {
    if !can_run(&["unbound"]) {
        return;
    }
    let Some(net) = net(&[]) else { return };
    let unbound = net.unbound("");
    assert!(is_great(&net)["case_bits"].as_f64().unwrap() < 0.1);
    drop(unbound);
    let unbound = net.unbound("use-caps-for-id: yes");
    assert!(json(&net)["case_bits"].as_f64().unwrap() > 10.0);
    // A client's own random case, which a resolver may pass on, is none of the resolver's.
    drop(unbound);
    let _unbound = net.unbound("");
    let told = net.dig("CHecK.t.EXAMPLE TXT");
    assert!(told.contains("case_bits\\\":0.0"), "{told}");
}

#[test]
fn powerdns_recursor_finds_its_way() {
    with_unpacked("pdns-recursor", "/usr/sbin/pdns_recursor", Net::powerdns);
}

#[test]
fn knot_resolver_finds_its_way() {
    with_unpacked("knot-resolver", "/usr/sbin/kresd", Net::knot);
}

fn with_unpacked(package: &str, program: &str, start: fn(&Net, &str) -> Running) {
    if !is_there(package, program) {
        return;
    }
    let Some(net) = net(&[]) else { return };
    if lay_over(&net.client, package, program) {
        let _running = start(&net, program);
        is_great(&net);
    }
}
