//! `prove` and `lab recipe`, with nmap, tcpdump and dig as third parties.

mod common;

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use common::{BIN, Network, can_run, dnsalt, network};

fn servers(network: &Network) -> String {
    network.net.servers().map(|server| server.to_string()).join(",")
}

#[test]
fn the_verdict_is_in_the_exit_code() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    let list = servers(&network);
    let weak = dnsalt(gateway, &["prove", "--server", &list]).exits(1);
    assert!(weak.stdout.contains("Not protected"), "{}", weak.stdout);
    assert_eq!(weak.stdout.matches(".44444 > ").count(), 16, "{}", weak.stdout);
    dnsalt(gateway, &["prove", "--server", &list, "--tcp", "-n", "2"]).exits(1);
    dnsalt(gateway, &["up"]).exits(0);
    let fine = dnsalt(gateway, &["prove", "--server", &list]).exits(0);
    assert!(
        fine.stdout.contains("Protected: asked from port 44444, every server saw"),
        "{}",
        fine.stdout
    );
    let tcp = dnsalt(gateway, &["prove", "--server", &list, "--tcp", "-n", "2"]).exits(0);
    assert_eq!(tcp.stdout.matches("2 of 2").count(), 4, "{}", tcp.stdout);
    for line in fine.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_servers_of_resolv_conf_are_asked() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    let seen = dnsalt(gateway, &["prove", "--sport", "5353"]).exits(1);
    assert!(
        seen.stdout.contains("Asking 2 servers") && seen.stdout.contains("5353 each time"),
        "{}",
        seen.stdout
    );
    gateway.resolv_conf(&[]).unwrap();
    let nobody = dnsalt(gateway, &["prove"]).exits(2);
    assert!(nobody.stderr.contains("--server ADDRESS"), "{}", nobody.stderr);
    // The stub of systemd-resolved: those that it asks.
    gateway.resolv_conf(&["127.0.0.53".parse().unwrap()]).unwrap();
    let lo = dnsalt(gateway, &["prove"]).exits(2);
    assert!(lo.stderr.contains("127.0.0.53 is this machine itself"), "{}", lo.stderr);
    gateway.sh("mkdir -p /run/systemd/resolve; echo nameserver 10.53.2.53 > /run/systemd/resolve/resolv.conf").unwrap();
    let stub = dnsalt(gateway, &["prove"]).exits(1);
    assert!(
        stub.stdout.contains("10.53.2.53") && stub.stderr.contains("one server shows less"),
        "{}",
        stub.stdout
    );
}

#[test]
fn json_has_what_the_table_has() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &["up", "--per-query"]).exits(0);
    let proof = dnsalt(gateway, &["prove", "--json", "-n", "5"]).exits(0);
    let proof: serde_json::Value = serde_json::from_str(&proof.stdout).unwrap();
    assert_eq!(proof["protected"], true);
    let server = &proof["servers"][0];
    assert_eq!(server["server"], "10.53.2.53:53");
    assert_eq!((&server["queries"], &server["answered"]), (&5.into(), &5.into()));
    assert_eq!(server["wire_ports"].as_array().unwrap().len(), 5);
    assert!(server["distinct_ports"].as_u64().unwrap() >= 4);
    assert_eq!(proof["wire"].as_array().unwrap().len(), 20);
}

#[test]
fn how_long_a_port_sticks_is_waited_out() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &["up"]).exits(0);
    let sticky = dnsalt(gateway, &["prove", "--sticky"]).exits(0);
    assert!(sticky.stdout.contains("A flow kept its port over a pause of "), "{}", sticky.stdout);
    assert!(sticky.stdout.contains("and had another after 2s 200ms."), "{}", sticky.stdout);
    dnsalt(gateway, &["up", "--per-query"]).exits(0);
    let fresh = dnsalt(gateway, &["prove", "--sticky"]).exits(0);
    assert!(fresh.stdout.contains("The port does not stick"), "{}", fresh.stdout);
}

/// The scope of `up --from`: a query of the gateway itself is outside, one from its inner address in.
#[test]
fn an_address_to_ask_from_can_be_given() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &["up", "--from", "10.53.1.0/24"]).exits(0);
    dnsalt(gateway, &["prove"]).exits(1);
    dnsalt(gateway, &["prove", "--bind", "10.53.1.1"]).exits(0);
    let other = dnsalt(gateway, &["prove", "--bind", "fd53:1::1"]).exits(2);
    assert!(other.stderr.contains("the other address family"), "{}", other.stderr);
}

#[test]
fn what_cannot_be_proven_is_said() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    let unreachable = dnsalt(gateway, &["prove", "--server", "198.51.100.53"]).exits(3);
    assert!(unreachable.stderr.contains("no way to 198.51.100.53"), "{}", unreachable.stderr);
    // Seen leaving, never answered: the port is what counts.
    dnsalt(gateway, &["up", "--no-health"]).exits(0);
    let silent = dnsalt(gateway, &["prove", "--server", "10.53.2.99:5300", "-n", "2"]);
    assert!(
        silent.stderr.contains("was seen leaving") || silent.stdout.contains("0 of 2"),
        "{silent:?}"
    );
    let taken = gateway.run(|| std::net::UdpSocket::bind(("0.0.0.0", 44444)).unwrap());
    let busy = dnsalt(gateway, &["prove"]).exits(3);
    assert!(busy.stderr.contains("choose another with --sport"), "{}", busy.stderr);
    drop(taken);
}

/// Rash's own experiment: nmap asks from port 44444, tcpdump watches, and they agree with `prove`.
#[test]
fn nmap_and_tcpdump_see_the_same() {
    let Some(network) = network(&["nft", "nmap", "tcpdump"]) else {
        return;
    };
    let Network { net, .. } = &network;
    let ports = |host: &dnsalt_lab::Host| {
        let mut tcpdump = net
            .gateway
            .command("tcpdump")
            .args(["-i", "wan0", "-nn", "-l", "--immediate-mode", "-Q", "out", "udp dst port 53"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(700));
        let nmap = "nmap --source-port 44444 -Pn -n -p 53 -sU 10.53.2.53 10.53.2.54";
        let said = host.sh(nmap).unwrap();
        assert_eq!(said.matches("53/udp open").count(), 2, "{said}");
        std::thread::sleep(Duration::from_millis(200));
        tcpdump.stop();
        let trace = std::io::read_to_string(tcpdump.stdout().unwrap()).unwrap();
        let port = |line: &str| -> Option<u16> {
            let (source, _) = line.split_once(" > ")?;
            source.rsplit_once('.')?.1.parse().ok()
        };
        trace.lines().filter_map(port).collect::<Vec<_>>()
    };
    for host in [&net.resolver, &net.gateway] {
        let before = ports(host);
        assert!(before.len() >= 2 && before.iter().all(|port| *port == 44444), "{before:?}");
        dnsalt(&net.gateway, &["prove"]).exits(1);
        dnsalt(&net.gateway, &["up"]).exits(0);
        let after = ports(host);
        assert!(after.len() >= 2 && after.iter().all(|port| *port != 44444), "{after:?}");
        assert!(
            after.iter().collect::<HashSet<_>>().len() >= 2,
            "a port for each server: {after:?}"
        );
        dnsalt(&net.gateway, &["prove"]).exits(0);
        dnsalt(&net.gateway, &["down"]).exits(0);
    }
}

#[test]
fn dig_resolves_through_it() {
    let Some(network) = network(&["nft", "dig"]) else {
        return;
    };
    let Network { net, .. } = &network;
    for options in [&["up"][..], &["up", "--per-query"]] {
        dnsalt(&net.gateway, options).exits(0);
        for host in [&net.resolver, &net.gateway] {
            for server in net.servers() {
                for transport in ["+notcp", "+tcp"] {
                    let answer =
                        host.sh(&format!("dig +short {transport} @{server} www.test A")).unwrap();
                    assert_eq!(answer.trim(), "192.0.2.80", "@{server} {transport}");
                }
            }
        }
    }
}

#[test]
fn the_recipe_is_as_expected_and_leaves_nothing() {
    if !can_run(&["ip", "nft"]) {
        return;
    }
    let links = || std::fs::read_to_string("/proc/net/dev").unwrap().lines().count();
    let before = links();
    let ended = std::process::Command::new(BIN).args(["lab", "recipe"]).output().unwrap();
    let text = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{text}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(text.ends_with("All 13 as expected.\n"), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert_eq!(links(), before);
}

/// Ctrl-C in the middle of it: every process that it started is gone, and so are its namespaces.
#[test]
fn the_recipe_interrupted_leaves_nothing() {
    if !can_run(&["ip", "nft", "pgrep"]) {
        return;
    }
    for (signal, after) in
        [(rustix::process::Signal::INT, 300), (rustix::process::Signal::KILL, 1500)]
    {
        let mut recipe = std::process::Command::new(BIN)
            .args(["lab", "recipe"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(after));
        let pid = rustix::process::Pid::from_child(&recipe);
        let namespaces = |pid: u32| -> HashSet<std::path::PathBuf> {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            tasks
                .filter_map(|task| std::fs::read_link(task.ok()?.path().join("ns/net")).ok())
                .collect()
        };
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        let made: Vec<_> = namespaces(recipe.id()).into_iter().filter(|ns| *ns != ours).collect();
        assert_eq!(made.len(), 3, "the lab was up");
        rustix::process::kill_process(pid, signal).unwrap();
        recipe.wait().unwrap();
        common::eventually("its namespaces are gone", Duration::from_secs(5), || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            let used: HashSet<_> = processes
                .filter_map(|p| std::fs::read_link(p.path().join("ns/net")).ok())
                .collect();
            made.iter().all(|namespace| !used.contains(namespace))
        });
    }
}
