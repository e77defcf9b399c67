//! What others on the machine can see and reach of it, and what reaches the programs that it runs.

mod common;

use std::time::Duration;

use common::{BIN, dnsalt, eventually, mount_bpffs, network, programs, salt};

#[test]
fn the_firewall_is_called_by_its_path_without_a_shell_and_with_an_empty_environment() {
    let Some(network) = network(&["nft", "strace"]) else { return };
    let gateway = &network.net.gateway;
    let folder = programs(&[("nft", "nft")]);
    // What lies where we are started is none of ours.
    gateway.sh("mkdir /run/here; printf '#!/bin/sh\ntouch /run/fooled\n' > /run/here/nft; chmod +x /run/here/nft").unwrap();
    let path = format!(":.:{}", folder.path().display());
    let strace = gateway.sh("command -v strace").unwrap();
    let strace = strace.trim();
    for args in [&["up", "--engine", "nat", "--no-health"][..], &["status"], &["down"]] {
        let words = args.join(" ");
        gateway
            .sh(&format!(
                "cd /run/here; export PATH='{path}' NFT_OF_SOMEBODY=x
                {strace} -f -qq -v -s 4096 -e trace=execve -o /run/calls {BIN} {words} || true"
            ))
            .unwrap();
        let calls = gateway.sh("cat /run/calls").unwrap();
        // The first is ours.
        let others: Vec<&str> =
            calls.lines().filter(|line| line.contains("execve(") && !line.contains(BIN)).collect();
        assert!(!others.is_empty(), "{args:?}: {calls}");
        for call in others {
            let (_, behind) = call.split_once("execve(\"").unwrap();
            assert!(behind.starts_with('/') && !behind.contains("/sh\""), "{call}");
            assert!(behind.contains("], [\"LC_ALL=C\"])"), "{call}");
        }
    }
    assert!(gateway.sh("test -e /run/fooled").is_err());
}

#[test]
fn others_on_the_machine_cannot_reach_the_engine() {
    let Some(network) = network(&["tc", "nft", "setpriv"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    salt(&network, &[]).exits(0);
    let as_nobody =
        "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all";
    // Maps hold the keys of hashes; links could be taken off.
    assert_eq!(
        gateway.sh("stat -c %a /run/bpf/dnsalt /run/bpf/dnsalt/net-*").unwrap(),
        "700\n700\n"
    );
    assert!(gateway.sh(&format!("{as_nobody} ls /run/bpf/dnsalt/net-*")).is_err());
    // What is known of it anybody may read, and nobody write; there is no key in it.
    let state = gateway.sh(&format!("{as_nobody} cat /run/dnsalt/net-*/state.json")).unwrap();
    assert!(state.contains("Config { key: [0, 0], nonce_key: [0, 0],"), "{state}");
    assert_eq!(gateway.sh("find /run/dnsalt -perm /022").unwrap(), "");
    for verb in ["down", "up --engine salt --bpffs /run/bpf"] {
        assert!(gateway.sh(&format!("{as_nobody} {BIN} {verb}")).is_err(), "{verb}");
    }
    dnsalt(gateway, &["status"]).exits(0);

    // The agent's socket is for its group; its port is this machine's alone.
    let mut agent = gateway
        .command(BIN)
        .args(["run", "--engine", "salt", "--bpffs", "/run/bpf", "--metrics", "unix:/run/metrics"])
        .spawn()
        .unwrap();
    eventually("the agent serves", Duration::from_secs(20), || {
        gateway.sh("test -S /run/metrics").is_ok()
    });
    assert_eq!(gateway.sh("stat -c %a /run/metrics").unwrap(), "660\n");
    agent.kill();
    dnsalt(gateway, &["down"]).exits(0);
}
