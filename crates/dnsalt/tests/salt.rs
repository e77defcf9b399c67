//! `up --engine salt` and what goes with it, on a gateway of the lab.

mod common;

use common::faults::{run_by, trace};
use common::{BIN, Network, SALT, dnsalt, eventually, mount_bpffs, network, ports_seen};
use dnsalt_lab::Host;
use dnsalt_lab::actor::Tun;
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;

/// The network, with a bpffs on the gateway.
fn with_bpffs(programs: &[&str]) -> Option<Network> {
    let network = network(programs)?;
    mount_bpffs(&network.net.gateway);
    Some(network)
}

fn status(network: &Network, code: i32) -> Value {
    let status = dnsalt(&network.net.gateway, &["status", "--json"]).exits(code);
    serde_json::from_str(&status.stdout).unwrap()
}

/// What of ours is in the bpffs.
fn pinned(gateway: &Host) -> String {
    gateway.sh("ls -d /run/bpf/dnsalt/* 2> /dev/null || true").unwrap()
}

/// What 20 queries from one socket leave from.
fn ports(network: &Network) -> usize {
    let ports = ports_seen(network, &network.net.resolver, 44444, 20);
    ports.into_iter().collect::<HashSet<_>>().len()
}

#[test]
fn up_protects_every_query_and_down_puts_everything_back() {
    let Some(network) = with_bpffs(&["tc", "nft"]) else { return };
    let gateway = &network.net.gateway;
    let look = || {
        gateway
            .sh("tc qdisc show; nft list ruleset; ls -R /run/bpf; ls /run/dnsalt 2> /dev/null || true")
            .unwrap()
    };
    let before = look();
    let up = dnsalt(gateway, &SALT).exits(0);
    assert!(up.stdout.contains("Up. DNS queries leave with random ports and IDs now."), "{up:?}");
    assert!(up.stdout.contains("engine   salt, by tcx on lan0, wan0"), "{up:?}");
    assert!(ports(&network) > 35);
    let shown = dnsalt(gateway, &["status"]).exits(0);
    assert!(shown.stdout.contains("bits now   32.0 for every query"), "{}", shown.stdout);
    for line in up.stdout.lines().chain(shown.stdout.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let status = status(&network, 0);
    assert_eq!((&status["engine"], &status["protected"]), (&"salt".into(), &true.into()));
    // Those of the health check, too.
    assert!(status["salt"]["counters"]["salted"].as_u64() >= Some(40), "{status:#}");
    let again = dnsalt(gateway, &SALT).exits(0);
    assert!(again.stdout.contains("nothing was changed"), "{}", again.stdout);
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(look(), before);
    assert_eq!(ports(&network), 1);
    let nothing = dnsalt(gateway, &["down"]).exits(0);
    assert!(nothing.stdout.contains("Nothing of dnsalt's"), "{}", nothing.stdout);
}

#[test]
fn prove_sees_ports_and_ids_change() {
    let Some(network) = with_bpffs(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    let list = "10.53.2.53,10.53.2.54,fd53:2::53";
    dnsalt(gateway, &["prove", "--server", list]).exits(1);
    dnsalt(gateway, &SALT).exits(0);
    let fine = dnsalt(gateway, &["prove", "--server", list, "-n", "6"]).exits(0);
    assert!(
        fine.stdout.contains("a new random port and query ID for every query."),
        "{}",
        fine.stdout
    );
    assert_eq!(fine.stdout.matches("6 of 6").count(), 3, "{}", fine.stdout);
}

#[test]
fn one_engine_takes_over_from_the_other() {
    let Some(network) = with_bpffs(&["tc", "nft"]) else { return };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &["up"]).exits(0);
    assert_eq!(status(&network, 0)["engine"], "nat");
    dnsalt(gateway, &SALT).exits(0);
    assert_eq!(status(&network, 0)["engine"], "salt");
    assert!(!gateway.sh("nft list ruleset").unwrap().contains("dnsalt"));
    assert!(ports(&network) > 35);
    dnsalt(gateway, &["up"]).exits(0);
    assert_eq!(status(&network, 0)["engine"], "nat");
    assert_eq!(pinned(gateway), "");
    dnsalt(gateway, &["down"]).exits(0);
}

#[test]
fn unconfirmed_it_is_undone() {
    let Some(network) = with_bpffs(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &[&SALT[..], &["--confirm", "4s"]].concat()).exits(0);
    assert!(ports(&network) > 35);
    eventually("it is undone", Duration::from_secs(20), || pinned(gateway).is_empty());
    assert_eq!(ports(&network), 1);
    dnsalt(gateway, &SALT).exits(0);
    let other = ["--max-identical", "2", "--confirm", "4s"];
    dnsalt(gateway, &[&SALT[..], &other].concat()).exits(0);
    assert_eq!(status(&network, 0)["settings"]["max-identical"], 2);
    eventually("the change is undone", Duration::from_secs(20), || {
        status(&network, 0)["settings"]["max-identical"].is_null()
    });
    assert!(ports(&network) > 35);
}

#[test]
fn what_is_damaged_is_told() {
    let Some(network) = with_bpffs(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &SALT).exits(0);
    gateway.sh("rm /run/bpf/dnsalt/net-*/link-out-*").unwrap();
    eventually("it is told", Duration::from_secs(5), || {
        let status = dnsalt(gateway, &["status"]);
        status.code == 1 && status.stdout.contains("missing: the programs on")
    });
    dnsalt(gateway, &SALT).exits(0);
    status(&network, 0);
    gateway.sh("rm /run/bpf/dnsalt/net-*/*").unwrap();
    let gone = dnsalt(gateway, &["status"]).exits(1);
    assert!(gone.stdout.contains("the rules are gone"), "{}", gone.stdout);
    dnsalt(gateway, &SALT).exits(0);
    assert!(ports(&network) > 35);
}

/// Programs of the engine that are loaded by `up` with these options.
fn loaded(gateway: &Host, options: &[&str]) -> Vec<String> {
    let up = [&["up", "--no-health", "--bpffs", "/run/bpf"], options].concat();
    let calls = trace(gateway, |tracer| {
        run_by(gateway, &[tracer], &up).exits(0);
    });
    let names = calls.split("prog_name=\"").skip(1).filter_map(|rest| rest.split('"').next());
    names.filter(|name| name.starts_with("salt_")).map(str::to_owned).collect()
}

/// The kernel takes half a second and more to verify a pair of them, and a slow processor many.
#[test]
fn no_program_is_loaded_that_nobody_needs() {
    let Some(network) = with_bpffs(&["tc", "strace"]) else { return };
    let gateway = &network.net.gateway;
    let ether = ["salt_out_ether", "salt_in_ether"];
    let raw = ["salt_out_raw", "salt_in_raw"];
    // Once to see whether the kernel takes them, which is known afterwards.
    assert_eq!(loaded(gateway, &[]), [ether, ether].concat());
    assert_eq!(loaded(gateway, &[]), [""; 0]);
    assert_eq!(loaded(gateway, &["--ports", "20000-30000"]), ether);
    assert!(ports(&network) > 35);
    let made = Tun::new(gateway, "tun0");
    let Ok(_tun) = made.inspect_err(|why| println!("skipped: this kernel has no tun: {why}"))
    else {
        return;
    };
    gateway.up("tun0").unwrap();
    let both = ["--ports", "20000-30000", "--iface", "tun0,wan0"];
    assert_eq!(loaded(gateway, &both), [raw, ether].concat());
    assert_eq!(loaded(gateway, &["--iface", "tun0"]), raw);
    assert_eq!(status(&network, 0)["salt"]["interfaces"], serde_json::json!(["tun0"]));
}

/// A lab host has mounts of its own, but so have those who start programs there.
#[test]
fn the_usual_bpffs_is_mounted_and_unmounted_again() {
    let Some(network) = network(&["tc", "strace"]) else { return };
    let gateway = &network.net.gateway;
    let shell = |script: &str| {
        // All ancestors have the same mounts: the script is the first process.
        let script = format!(
            "unshare --mount --pid --fork --mount-proc sh -euc '
                umount -l /sys; mount -t sysfs other /sys; {script}
                stat -f -c %T /sys/fs/bpf'"
        );
        gateway.sh(&script).unwrap()
    };
    let up = format!("{BIN} up --engine salt --no-health > /dev/null");
    let down = format!("{BIN} down > /dev/null");
    assert_eq!(shell(&format!("{BIN} up --engine salt --dry-run > /dev/null;")), "sysfs\n");
    assert_eq!(shell(&format!("{up};")), "bpf_fs\n");
    gateway.sh("rm -rf /run/dnsalt").unwrap();
    assert_eq!(shell(&format!("{up}; {down};")), "sysfs\n");
    // One of somebody else's stays.
    assert_eq!(shell(&format!("mount -t bpf bpf /sys/fs/bpf; {up}; {down};")), "bpf_fs\n");
    // Killed as soon as it had mounted it.
    let kill = "strace -f -qq -o /dev/null -P /sys/fs/bpf/dnsalt -e inject=mkdir:signal=KILL";
    let killed = format!("{kill} {up} 2>&1 || stat -f -c %T /sys/fs/bpf; {down};");
    assert_eq!(shell(&killed), "bpf_fs\nsysfs\n");
    // The last of all network namespaces takes it away.
    let other = format!(
        "unshare --net sh -euc \"ip link add lan0 type veth peer lan1; ip link set lan0 up; {up}
            nsenter --net=/proc/1/ns/net {down}; stat -f -c %T /sys/fs/bpf; {down}\";"
    );
    assert_eq!(shell(&format!("{up}; {other}")), "bpf_fs\nsysfs\n");
}

#[test]
fn where_it_would_not_last_it_refuses_and_auto_falls_back() {
    let Some(network) = network(&["tc", "nft"]) else { return };
    let gateway = &network.net.gateway;
    // As `ip netns exec` does: mounts of its own, and a new /sys.
    let short_lived = |engine: &str| {
        gateway
            .sh(&format!(
                "unshare --mount sh -c '
                    mount -t sysfs sysfs /sys; {BIN} up --engine {engine} 2>&1; echo code $?'"
            ))
            .unwrap()
    };
    let lasts = short_lived("salt");
    if lasts.contains("code 0") {
        println!("skipped: the first process of this machine has a bpffs, which would be used");
        dnsalt(gateway, &["down"]).exits(0);
        return;
    }
    assert!(lasts.contains("ip netns exec") && lasts.contains("code 3"), "{lasts}");
    let auto = short_lived("auto");
    assert!(auto.contains("without the 16 bits of the query ID"), "{auto}");
    assert_eq!(status(&network, 0)["engine"], "nat");
    let other = dnsalt(gateway, &["up", "--engine", "salt", "--bpffs", "/tmp"]).exits(3);
    assert!(other.stderr.contains("/tmp: not a bpffs"), "{}", other.stderr);
    let nat_only = dnsalt(gateway, &["up", "--engine", "salt", "--per-query"]).exits(2);
    assert!(nat_only.stderr.contains("--engine nat"), "{}", nat_only.stderr);
}
