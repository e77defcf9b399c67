//! Where conntrack has no room left, where the kernel has none, and where somebody sets the clock.
//!
//! All of it concerns a whole machine, so it runs in one of its own: `./x test-kernels`.

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::agent::{Agent, is_protected, status};
use common::{Network, bind, dnsalt, eventually, mount_bpffs, network, ruleset, salt};
use dnsalt_lab::Host;
use rustix::time::{ClockId, Timespec, clock_settime};

/// Entries that the table may have.
const ROOM: usize = 256;
const QUERIES: u8 = 4;
const ALL: usize = QUERIES as usize;
/// For everything here: to verify the programs alone takes an emulated processor 10 seconds, of a busy
/// machine more.
const PATIENCE: Duration = Duration::from_secs(120);

/// One test after the other.
static MACHINE: Mutex<()> = Mutex::new(());

/// The network, where the kernel is the test's own, for as long as nobody else has the machine.
fn own_machine() -> Option<(MutexGuard<'static, ()>, Network)> {
    if std::env::var_os("DNSALT_GUEST").is_none() {
        eprintln!("skipped: concerns the whole machine: ./x test-kernels has one of its own");
        return None;
    }
    let alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let network = network(&["tc", "nft"])?;
    mount_bpffs(&network.net.gateway);
    Some((alone, network))
}

/// How many of some queries are answered, each from a port of its own.
fn answered(network: &Network, host: &Host) -> usize {
    common::answered(network, host, 0, QUERIES, Duration::from_secs(1))
}

/// Flows that nobody answers: conntrack lets them go where it needs their places.
fn unanswered_flows(network: &Network) {
    let server = SocketAddr::new(network.net.servers_v4[0], 9);
    let deaf = "nft add table ip deaf
        nft add chain ip deaf input '{ type filter hook input priority 0; }'
        nft add rule ip deaf input udp dport 9 drop";
    network.net.upstream.sh(deaf).unwrap();
    network.net.gateway.sysctl("net/netfilter/nf_conntrack_udp_timeout", "5").unwrap();
    network.net.resolver.run(move || {
        for _ in 0..2 * ROOM {
            bind(([0, 0, 0, 0], 0).into()).send_to(b"x", server).unwrap();
        }
    });
}

/// Connections through the gateway until there is no room for another. They keep their places.
fn connections(network: &Network) -> Vec<(TcpStream, TcpStream)> {
    let server = SocketAddr::new(network.net.servers_v4[0], 4321);
    let listener = network.net.upstream.run(move || TcpListener::bind(server).unwrap());
    let mut held = Vec::new();
    let connect = move || TcpStream::connect_timeout(&server, Duration::from_millis(500)).ok();
    while let Some(stream) = network.net.resolver.run(connect) {
        held.push((stream, listener.accept().unwrap().0));
        assert!(held.len() <= ROOM, "the table takes more than it has room for");
    }
    held
}

fn entries(host: &Host) -> usize {
    host.sh("cat /proc/sys/net/netfilter/nf_conntrack_count").unwrap().trim().parse().unwrap()
}

#[test]
fn a_full_conntrack_table_takes_queries_from_nat_and_none_from_salt() {
    let Some((_alone, network)) = own_machine() else { return };
    let [gateway, resolver] = [&network.net.gateway, &network.net.resolver];
    // As many lists as entries, as by default: room is looked for in a few of them.
    fs::write("/sys/module/nf_conntrack/parameters/hashsize", ROOM.to_string()).unwrap();
    fs::write("/proc/sys/net/netfilter/nf_conntrack_max", ROOM.to_string()).unwrap();
    let before = ruleset(gateway);
    let up = dnsalt(gateway, &["up"]).exits(0);
    assert!(!up.stderr.contains("nearly full"), "{}", up.stderr);
    assert_eq!(answered(&network, resolver), ALL);

    // Full of what can go: DNS goes on, and whoever looks is told.
    unanswered_flows(&network);
    assert!(entries(gateway) * 10 >= ROOM * 9, "{}", entries(gateway));
    assert_eq!(answered(&network, resolver), ALL);
    let status = dnsalt(gateway, &["status"]).exits(0);
    assert!(
        status.stdout.contains("\n           it is nearly full; raise it"),
        "{}",
        status.stdout
    );

    // Full of what stays: no engine that rests on conntrack can ask.
    // What is over goes when somebody lists the table.
    eventually("the table is empty", PATIENCE, || {
        dnsalt(gateway, &["status"]);
        entries(gateway) * 10 < ROOM
    });
    let held = connections(&network);
    assert!(held.len() * 10 >= ROOM * 9, "{}", held.len());
    assert_eq!(answered(&network, resolver), 0);
    assert_eq!(answered(&network, gateway), 0);
    let status = dnsalt(gateway, &["status"]).exits(0);
    assert!(status.stdout.contains("nearly full"), "{}", status.stdout);

    // Without the rules nothing is tracked, so names resolve; `up` finds out that they would not, and
    // takes the rules back.
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(ruleset(gateway), before);
    assert_eq!(answered(&network, resolver), ALL);
    let up = dnsalt(gateway, &["up"]).exits(3);
    assert!(up.stderr.contains("names do not resolve through the new rules"), "{}", up.stderr);
    assert!(up.stderr.contains("table is nearly full"), "{}", up.stderr);
    assert_eq!(ruleset(gateway), before);
    assert_eq!(answered(&network, resolver), ALL);

    // The other engine needs no room, whoever else has the table.
    salt(&network, &[]).exits(0);
    assert_eq!(answered(&network, resolver), ALL);
    dnsalt(gateway, &["down"]).exits(0);
    gateway
        .sh("nft add table ip theirs
            nft add chain ip theirs forward '{ type filter hook forward priority 0; }'
            nft add rule ip theirs forward ct state established accept")
        .unwrap();
    assert_eq!(answered(&network, resolver), 0);
    salt(&network, &["--source", "10.53.2.1", "--conntrack", "off"]).exits(0);
    assert_eq!(answered(&network, resolver), ALL);
    drop(held);
}

#[test]
fn without_conntrack_in_the_kernel_nat_is_refused_and_salt_works() {
    let Some((_alone, network)) = own_machine() else { return };
    let gateway = &network.net.gateway;
    // In the order in which they need each other; what is built in stays.
    gateway.sh("for module in $(cat /modules/conntrack); do rmmod $module || true; done").unwrap();
    assert!(!fs::exists("/proc/sys/net/netfilter/nf_conntrack_max").unwrap());
    let before = ruleset(gateway);
    let refused = dnsalt(gateway, &["up"]).exits(3);
    assert!(refused.stderr.contains("this kernel has no conntrack"), "{}", refused.stderr);
    assert_eq!(ruleset(gateway), before);
    assert_eq!(answered(&network, gateway), ALL);
    let auto = ["up", "--engine", "auto", "--bpffs", "/run/bpf"];
    let up = dnsalt(gateway, &auto).exits(0);
    assert!(up.stdout.contains("engine   salt"), "{}", up.stdout);
    dnsalt(gateway, &["status"]).exits(0);
    assert_eq!(answered(&network, &network.net.resolver), ALL);
    dnsalt(gateway, &["down"]).exits(0);
    gateway.sh("sh /modules/load").unwrap();
}

/// What the clock shows.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn set_clock(to: u64) {
    let time = Timespec { tv_sec: to.try_into().unwrap(), tv_nsec: 0 };
    clock_settime(ClockId::Realtime, time).unwrap();
}

#[test]
fn a_clock_that_somebody_sets_changes_nothing() {
    const YEARS: u64 = 20 * 365 * 24 * 3600;
    let Some((_alone, network)) = own_machine() else { return };
    let [gateway, resolver] = [&network.net.gateway, &network.net.resolver];
    let right = clock();
    let mut agent = Agent::spawn(gateway, &[], &["--engine", "salt", "--bpffs", "/run/bpf"]);
    eventually("it is ready", PATIENCE, || agent.log().contains("\"protected\""));
    set_clock(right - YEARS);
    assert_eq!(answered(&network, resolver), ALL);
    gateway.sh("rm -r /run/bpf/dnsalt").unwrap();
    eventually("it is put back", PATIENCE, || {
        !agent.told("protection-restored").is_empty() && is_protected(gateway)
    });
    assert_eq!(answered(&network, resolver), ALL);
    agent.signal("TERM");
    assert_eq!(agent.ends(), 0);
    dnsalt(gateway, &["down"]).exits(0);

    // As on a router without a battery, whose clock is right once names resolve.
    dnsalt(gateway, &["up", "--no-health", "--confirm", "10s"]).exits(0);
    set_clock(right);
    let now = status(gateway);
    assert_eq!(now["protected"], true, "{now}");
    let [since, undone] = ["since", "undone_at"].map(|key| now[key].as_u64().unwrap());
    assert!((right - 10..=clock()).contains(&since), "{now}");
    assert!((right..=right + 12).contains(&undone), "{now}");
    eventually("it is undone", PATIENCE, || !is_protected(gateway));
    assert!(clock() + 1 >= undone, "before its time");
}
