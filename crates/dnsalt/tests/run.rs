//! `dnsalt run`: what is damaged is put back, and the agent has no more rights than it needs.

mod common;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::agent::{Agent, PATIENCE, is_protected, status};
use common::{Network, dnsalt, eventually, mount_bpffs, network};
use dnsalt_lab::Host;
use serde_json::Value;

const NAT: [&str; 2] = ["--engine", "nat"];
const SALT: [&str; 4] = ["--engine", "salt", "--bpffs", "/run/bpf"];

/// Damages it by a script; it has to be there again, once.
#[track_caller]
fn comes_back_after(agent: &Agent<'_>, script: &str) {
    let lost = agent.told("protection-restored").len();
    agent.host.sh(script).unwrap();
    let begun = Instant::now();
    while agent.told("protection-restored").len() == lost {
        assert!(begun.elapsed() < PATIENCE, "{script}: {}", agent.log());
    }
    let took = begun.elapsed();
    // Once, and it stays.
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(agent.told("protection-restored").len(), lost + 1, "{}", agent.log());
    assert!(is_protected(agent.host), "{}", agent.log());
    // Within a second on a machine that has time; how long it takes is no test.
    println!("{script}: {took:?}");
}

fn answered(network: &Network) -> usize {
    common::ports_seen(network, &network.net.resolver, 44444, 3).len()
}

#[test]
fn rules_that_somebody_flushes_come_back() {
    let Some(network) = network(&[]) else { return };
    let gateway = &network.net.gateway;
    let agent = Agent::start(gateway, &NAT);
    assert!(is_protected(gateway));
    comes_back_after(&agent, "nft flush ruleset");
    comes_back_after(&agent, "nft delete table inet dnsalt");
    comes_back_after(&agent, "nft flush chain inet dnsalt postrouting");
    assert_eq!(answered(&network), 6);
    // Rules of others are none of its business.
    let before = agent.told("protection-lost").len();
    gateway.sh("nft add table ip other; nft delete table ip other").unwrap();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(agent.told("protection-lost").len(), before);
}

/// A GET of the agent's own server: status line and body.
fn get(host: &Host, path: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    host.run(move || {
        let mut stream = std::net::TcpStream::connect("127.0.0.1:9853").unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    })
}

#[test]
fn numbers_are_served() {
    let Some(network) = network(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let agent = Agent::start(gateway, &SALT);
    assert_eq!(answered(&network), 6);
    comes_back_after(&agent, "rm /run/bpf/dnsalt/net-*/link-*");
    eventually("health is told", PATIENCE, || {
        let (status, body) = get(gateway, "/healthz");
        println!("{status}: {body}");
        status.contains(" 200 ")
    });
    let (status, text) = get(gateway, "/metrics");
    assert!(status.contains(" 200 "), "{status}");
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value
            .and_then(|value| value.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("{name}: {text}"))
    };
    assert!((value("dnsalt_protected") - 1.0).abs() < 1e-9);
    println!("{text}");
    assert!(text.contains("engine=\"salt\""));
    let socket = gateway.sh("stat -c %a /run/dnsalt/metrics.sock").unwrap();
    assert_eq!(socket.trim(), "660");
}

#[test]
fn rules_of_iptables_come_back() {
    let Some(network) = network(&["iptables-legacy"]) else { return };
    let options = [&NAT[..], &["--backend", "iptables-legacy"]].concat();
    let agent = Agent::start(&network.net.gateway, &options);
    comes_back_after(&agent, "iptables-legacy -t nat -F");
    assert_eq!(answered(&network), 6);
}

#[test]
fn programs_that_somebody_removes_come_back() {
    let Some(network) = network(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let agent = Agent::start(gateway, &SALT);
    assert!(is_protected(gateway));
    let remove =
        "rm /run/bpf/dnsalt/net-*/link-*; tc qdisc del dev wan0 clsact 2>/dev/null || true";
    comes_back_after(&agent, remove);
    comes_back_after(&agent, "rm -r /run/bpf/dnsalt");
    assert_eq!(answered(&network), 6);
}

#[test]
fn interfaces_that_come_are_salted() {
    let Some(network) = network(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let agent = Agent::start(gateway, &SALT);
    gateway.sh("ip link add new0 type veth peer name new1; ip link set new0 up").unwrap();
    let on = |name: &str| {
        let interfaces = &status(gateway)["salt"]["interfaces"];
        interfaces.as_array().is_some_and(|all| all.iter().any(|one| one == name))
    };
    eventually("the new interface is salted", PATIENCE, || on("new0"));
    gateway.sh("ip link del new0").unwrap();
    eventually("it is protected without it", PATIENCE, || !on("new0") && is_protected(gateway));
    assert!(agent.told("protection-broken").is_empty(), "{}", agent.log());
}

#[test]
fn an_interface_that_is_renamed_stays_salted_and_one_that_moves_away_is_let_go() {
    let Some(network) = network(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let agent = Agent::start(gateway, &SALT);
    let all_on = |names: &[&str]| {
        let interfaces = &status(gateway)["salt"]["interfaces"];
        let mut there: Vec<&str> =
            interfaces.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        there.sort_unstable();
        there == names
    };
    gateway
        .sh("ip link set wan0 down; ip link set wan0 name uplink; ip link set uplink up")
        .unwrap();
    gateway.sh("ip address add fd53:2::1/64 dev uplink nodad || true").unwrap();
    eventually("it is salted by its new name", PATIENCE, || {
        all_on(&["lan0", "uplink"]) && is_protected(gateway)
    });
    assert_eq!(answered(&network), 6);
    // Into the network namespace of another host, with everything that is on it.
    let away = dnsalt_lab::Host::new("away").unwrap();
    let place = away.netns_path();
    gateway.sh("ip link add new0 type veth peer name new1; ip link set new0 up").unwrap();
    eventually("the new one is salted", PATIENCE, || all_on(&["lan0", "new0", "uplink"]));
    gateway.sh(&format!("ip link set new0 netns {}", place.display())).unwrap();
    eventually("it is let go", PATIENCE, || all_on(&["lan0", "uplink"]) && is_protected(gateway));
    assert_eq!(away.sh("tc qdisc show dev new0 | grep clsact || true").unwrap(), "");
    assert!(agent.told("protection-broken").is_empty(), "{}", agent.log());
}

/// What a process holds while it does nothing: descriptors, and memory in kB.
///
/// The smallest of several looks: in the midst of a round it has a file or a socket more.
fn held(host: &Host, pid: u32) -> [u64; 2] {
    let look = || -> [u64; 2] {
        let text = host
            .sh(&format!(
                "sleep 0.05; ls /proc/{pid}/fd | wc -l; awk '/^VmRSS/ {{ print $2 }}' /proc/{pid}/status"
            ))
            .unwrap();
        let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap());
        [numbers.next().unwrap(), numbers.next().unwrap()]
    };
    (0..20).map(|_| look()).min().expect("there are some")
}

#[test]
fn many_reloads_lose_no_query_and_leave_nothing_behind() {
    let Some(network) = network(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let write = |n: u32| {
        let policy = format!("echo 'ports = \"{}-60000\"' > /run/policy.toml", 2000 + n);
        gateway.sh(&policy).unwrap();
    };
    write(0);
    let agent = Agent::start(gateway, &[&SALT[..], &["--config", "/run/policy.toml"]].concat());
    let reload = |n| {
        write(n);
        agent.signal("HUP");
        agent.hears("RELOADING=1");
        agent.hears("READY=1");
        // Fails where one is not answered.
        assert_eq!(answered(&network), 6);
    };
    // Until it has what it needs for that.
    (1..10).for_each(reload);
    let before = held(gateway, agent.running.pid());
    (10..30).for_each(reload);
    let after = held(gateway, agent.running.pid());
    println!("descriptors and kB before {before:?}, after {after:?}");
    assert_eq!(before[0], after[0], "descriptors");
    assert!(after[1] < before[1] + 4096, "{before:?} kB became {after:?}");
    assert!(is_protected(gateway));
    assert!(agent.told("reload-failed").is_empty(), "{}", agent.log());
    println!("figure: reloads of the agent without a query lost: 29");
}

#[test]
fn a_new_policy_is_taken_and_a_wrong_one_is_not() {
    let Some(network) = network(&[]) else { return };
    let gateway = &network.net.gateway;
    gateway.sh("echo 'ports = \"20000-29999\"' > /run/policy.toml").unwrap();
    let options = [&NAT[..], &["--config", "/run/policy.toml"]].concat();
    let agent = Agent::start(gateway, &options);
    let ports = || status(gateway)["settings"]["ports"].clone();
    assert_eq!(ports(), "20000-29999");
    gateway.sh("echo 'ports = \"30000-39999\"' > /run/policy.toml").unwrap();
    agent.signal("HUP");
    agent.hears("RELOADING=1");
    agent.hears("READY=1");
    assert_eq!(ports(), "30000-39999");
    gateway.sh("printf 'from = []\\nportz = 7\\n' > /run/policy.toml").unwrap();
    agent.signal("HUP");
    agent.hears("RELOADING=1");
    agent.hears("READY=1");
    assert_eq!(ports(), "30000-39999");
    assert!(is_protected(gateway));
    let failed = agent.told("reload-failed");
    let said = failed[0]["message"].as_str().unwrap();
    assert!(said.contains("/run/policy.toml:2:1: ") && said.contains("portz"), "{said}");
}

#[test]
fn when_it_ends_the_protection_stays_unless_it_shall_not() {
    let Some(network) = network(&[]) else { return };
    let gateway = &network.net.gateway;
    let mut agent = Agent::start(gateway, &NAT);
    // There is one at a time.
    let second = dnsalt(gateway, &[&["run"], &NAT[..]].concat()).exits(3);
    assert!(second.stderr.contains("an agent runs here already"), "{}", second.stderr);
    agent.signal("TERM");
    assert_eq!(agent.ends(), 0);
    assert!(is_protected(gateway));
    let mut agent = Agent::start(gateway, &[&NAT[..], &["--down-on-exit"]].concat());
    agent.signal("TERM");
    assert_eq!(agent.ends(), 0, "{}", agent.log());
    assert!(!is_protected(gateway));
    // Taken down by hand, it does not fight whoever did that.
    let mut agent = Agent::start(gateway, &NAT);
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(agent.ends(), 0);
    assert!(!is_protected(gateway));
    assert_eq!(left(gateway), 1, "the agent's lock");
    // Also when it was about to put back what was taken down, and waited for whoever did that.
    let mut agent = Agent::start(gateway, &NAT);
    gateway
        .sh("cd /run/dnsalt/net-*/; flock lock sh -c 'nft flush ruleset; sleep 1; rm state.json lock'")
        .unwrap();
    assert_eq!(agent.ends(), 0);
    assert!(!is_protected(gateway));
    assert_eq!(left(gateway), 1, "the agent's lock");
}

fn left(gateway: &Host) -> usize {
    gateway.sh("ls /run/dnsalt").unwrap().lines().count()
}

#[test]
fn it_gives_up_what_it_does_not_need() {
    let Some(network) = network(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    // What it starts has no more rights than itself: the program tries some.
    gateway
        .sh("cat > /run/dnsalt-alert <<'END'
#!/bin/sh
{
  grep -E '^(Cap(Eff|Bnd)|Seccomp|NoNewPrivs):' /proc/self/status
  echo 1 > /tmp/dnsalt-not-allowed && echo wrote /tmp
  cat /root/.profile > /dev/null && echo read /root
  mount -t tmpfs none /mnt && echo mounted
  hostname other && echo named
  env | grep DNSALT_
} > /run/dnsalt/alert 2>&1
END
chmod +x /run/dnsalt-alert")
        .unwrap();
    gateway.sh("mkdir /run/evidence").unwrap();
    let file = "/run/evidence/forged.pcapng";
    let alert = ["--exec-on-alert", "/run/dnsalt-alert", "--save-forged", file];
    let options = [&SALT[..], &alert].concat();
    let agent = Agent::start(gateway, &options);
    near_miss(&network);
    eventually("the near miss is told", PATIENCE, || !agent.told("near-miss").is_empty());
    eventually("the program ran", PATIENCE, || {
        gateway.sh("cat /run/dnsalt/alert 2>/dev/null || true").unwrap().contains("DNSALT_SERVER")
    });
    let tried = gateway.sh("cat /run/dnsalt/alert").unwrap();
    for done in ["wrote /tmp", "read /root", "mounted", "named"] {
        assert!(!tried.lines().any(|line| line == done), "{tried}");
    }
    // NET_ADMIN 12, NET_RAW 13, PERFMON 38, BPF 39.
    for line in ["CapEff:\t000000c000003000", "CapBnd:\t000000c000003000", "Seccomp:\t2"] {
        assert!(tried.contains(line), "{tried}");
    }
    assert!(tried.contains("DNSALT_EVENT=near-miss"), "{tried}");
    assert!(tried.contains("DNSALT_NAME=a.test."), "{tried}");
    let told = &agent.told("near-miss")[0];
    assert_eq!((&told["server"], &told["kind"]), (&"10.53.2.60".into(), &"wrong_id".into()));
    assert_eq!(told["name"], "a.test.");
    let (id, wanted) = (told["id"].as_u64().unwrap(), told["wanted_id"].as_u64().unwrap());
    let up = id.abs_diff(wanted);
    assert_eq!(told["id_distance"], up.min(65536 - up));
    // What came is kept, with the reason, and other programs can read it.
    let shown = gateway.sh(&format!("tcpdump -nr {file} 2>&1")).unwrap();
    let line = format!("10.53.2.60.53 > 10.53.1.2.{}: {id}", told["port"]);
    assert!(shown.contains(&line), "{shown}");
    let kept = gateway.run(move || std::fs::read(file).unwrap());
    let comment = format!("for 10.53.2.60 and ID {wanted}, not {id}");
    assert!(String::from_utf8_lossy(&kept).contains(&comment), "{}", kept.escape_ascii());
}

#[test]
fn lockdowns_and_full_tables_are_told() {
    let Some(network) = network(&["tc"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    // 256 queries of a client to a server find a slot.
    let policy = ["--ports", "20000-20255", "--lockdown-after", "1"];
    let agent = Agent::start(gateway, &[&SALT[..], &policy].concat());
    near_miss(&network);
    eventually("the lockdown is told", PATIENCE, || !agent.told("lockdown").is_empty());
    let told = &agent.told("lockdown")[0];
    assert_eq!(told["server"], "10.53.2.60");
    assert_eq!((&told["cause"], &told["name"]), (&"wrong_id".into(), &"a.test.".into()));
    network.net.upstream.address("eth0", "10.53.2.61/24").unwrap();
    let client = network.net.resolver.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    for id in 0..300_u16 {
        let [id, label] = [id.to_be_bytes().to_vec(), format!("{id:03}").into_bytes()];
        let header = b"\x01\0\0\x01\0\0\0\0\0\0\x03";
        let query = [&id, &header[..], &label, b"\x04test\0\0\x01\0\x01"].concat();
        client.send_to(&query, "10.53.2.61:53").unwrap();
    }
    // A slot is looked for in some places, so that a few more find none.
    let without = || -> u64 {
        agent.told("table-full").iter().map(|told| told["count"].as_u64().unwrap()).sum()
    };
    eventually("the full table is told", PATIENCE, || without() >= 44);
    assert_eq!(agent.told("table-full")[0]["table"], "slots");
    eventually("the end is told", Duration::from_secs(45), || {
        !agent.told("lockdown-ended").is_empty()
    });
    let told = &agent.told("lockdown-ended")[0];
    assert_eq!(told["server"], "10.53.2.60");
    assert!((28..45).contains(&told["seconds"].as_u64().unwrap()), "{told}");
}

/// A server that replies with another ID.
fn near_miss(network: &Network) {
    network.net.upstream.address("eth0", "10.53.2.60/24").unwrap();
    let server = network.net.upstream.run(|| UdpSocket::bind("10.53.2.60:53").unwrap());
    let client = network.net.resolver.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    client.send_to(query, "10.53.2.60:53").unwrap();
    let mut buffer = [0; 512];
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let (got, peer) = server.recv_from(&mut buffer).unwrap();
    (buffer[0], buffer[2]) = (!buffer[0], 0x81);
    server.send_to(&buffer[..got], peer).unwrap();
}
