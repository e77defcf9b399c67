//! `up`, `status`, `confirm`, `down` with nftables, on a gateway of the lab.

mod common;

use std::collections::HashSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{
    BIN, Ended, Network, dnsalt, eventually, load_foreign, network, ports_seen, ruleset, uncounted,
};

const FIXED: u16 = 44444;

fn protected(network: &Network) -> bool {
    let ports = ports_seen(network, &network.net.resolver, FIXED, 1);
    assert_eq!(ports.len(), 2);
    ports.iter().all(|port| *port != FIXED)
}

#[test]
fn up_protects_and_down_puts_back_exactly_what_was_there() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    load_foreign(gateway);
    let before = ruleset(gateway);
    // The docker-like rule already translates, but keeps the port.
    assert!(!protected(&network));
    dnsalt(gateway, &["status"]).exits(1);
    let up = dnsalt(gateway, &["up"]).exits(0);
    assert!(up.stdout.contains("Up. DNS queries leave from random ports now."), "{}", up.stdout);
    assert!(protected(&network));
    let local = ports_seen(&network, gateway, FIXED, 1);
    assert!(local.iter().all(|port| *port != FIXED && *port >= 1024), "{local:?}");
    dnsalt(gateway, &["status"]).exits(0);
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(ruleset(gateway), before);
    assert!(!protected(&network), "old translations are gone with the rules");
    let again = dnsalt(gateway, &["down"]).exits(0);
    assert!(again.stdout.contains("Nothing of dnsalt's is installed"));
    assert_eq!(gateway.sh("ls /run/dnsalt").unwrap(), "", "no state is left behind");
}

/// A resolver that never stops asking keeps its conntrack entry alive: rules alone would not help.
#[test]
fn a_flow_from_before_is_protected_too() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    gateway.sh("nft 'table ip t { chain c { type filter hook prerouting priority 0; ct state new counter; }; }'").unwrap();
    assert!(!protected(&network));
    let up = dnsalt(gateway, &["up"]).exits(0);
    assert!(up.stdout.contains("UDP flows that had old ports"), "{}", up.stdout);
    assert!(protected(&network));
}

#[test]
fn up_twice_changes_nothing_and_another_policy_replaces() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &["up"]).exits(0);
    let handles = || gateway.sh("nft -a list table inet dnsalt").unwrap();
    let first = handles();
    let again = dnsalt(gateway, &["up"]).exits(0);
    assert!(again.stdout.contains("nothing was changed"), "{}", again.stdout);
    assert_eq!(handles(), first, "not even loaded anew");
    dnsalt(gateway, &["up", "--ports", "20000-20999", "--proto", "udp"]).exits(0);
    let ports = ports_seen(&network, &network.net.resolver, FIXED, 1);
    assert!(ports.iter().all(|port| (20000..21000).contains(port)), "{ports:?}");
    assert_ne!(handles(), first);
}

#[test]
fn the_scope_is_kept() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let Network { net, .. } = &network;
    let cases: [(&[&str], bool); 8] = [
        (&["--from", "10.53.1.0/24"], true),
        (&["--from", "10.99.0.0/16"], false),
        (&["--to", "10.53.2.53,10.53.2.54"], true),
        (&["--to", "10.53.2.99"], false),
        (&["--iface", "wan0"], true),
        (&["--iface", "lan0"], false),
        (&["--dns-port", "5353"], false),
        (&["--proto", "tcp"], false),
    ];
    for per_query in [false, true] {
        for (options, caught) in cases {
            if per_query && options.contains(&"tcp") {
                continue;
            }
            let mut args = vec!["up", "--no-health"];
            args.extend(options);
            if per_query {
                args.push("--per-query");
            }
            dnsalt(&net.gateway, &args).exits(0);
            assert_eq!(protected(&network), caught, "{args:?}");
        }
    }
}

#[test]
fn every_query_has_a_port_of_its_own_with_per_query() {
    let Some(network) = network(&["nft", "conntrack"]) else {
        return;
    };
    let Network { net, .. } = &network;
    let up = dnsalt(&net.gateway, &["up", "--per-query", "--timeout", "20"]).exits(0);
    assert!(
        up.stdout.contains("cap      3225 queries a second to one server (64508 ports / 20 s)")
    );
    for host in [&net.resolver, &net.gateway] {
        let ports = ports_seen(&network, host, FIXED, 50);
        let distinct: HashSet<_> = ports.iter().collect();
        // 100 draws of 64508: two of them alike once in 13 times, four alike once in 70,000.
        assert!(distinct.len() >= 97, "{} of {}", distinct.len(), ports.len());
    }
    let status = dnsalt(&net.gateway, &["status", "--json"]).exits(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["strength"]["cap"], 3225);
    let open = status["strength"]["open"].as_u64().unwrap();
    assert_eq!(open, 50, "open doors are counted");
    let listed = net.gateway.sh("conntrack -L -p udp --dport 53 2>/dev/null | wc -l").unwrap();
    assert!(listed.trim().parse::<u64>().unwrap() >= open);
}

#[test]
fn a_source_can_be_kept_or_drawn_from_a_pool() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let Network { net, servers } = &network;
    for last in 2..=4 {
        net.gateway.address("wan0", &format!("10.53.2.{last}/24")).unwrap();
    }
    let sources = |options: &[&str]| {
        dnsalt(&net.gateway, &[&["up", "--per-query"], options].concat()).exits(0);
        servers.take_seen();
        let host = &net.resolver;
        let target = net.servers_v4[0];
        host.run(move || {
            let socket = std::net::UdpSocket::bind(("0.0.0.0", FIXED)).unwrap();
            for _ in 0..40 {
                let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
                socket.send_to(query, (target, 53)).unwrap();
                socket.recv_from(&mut [0; 512]).unwrap();
            }
        });
        servers.take_seen().iter().map(|seen| seen.peer.ip().to_string()).collect::<HashSet<_>>()
    };
    assert_eq!(sources(&["--source", "keep"]), HashSet::from(["10.53.1.2".to_owned()]));
    // 40 draws of 3 leave one out once in 3,700,000 times.
    assert_eq!(sources(&["--source", "10.53.2.2-10.53.2.4"]).len(), 3);
    assert_eq!(sources(&["--source", "10.53.2.3"]), HashSet::from(["10.53.2.3".to_owned()]));
}

#[test]
fn confirm_keeps_and_silence_undoes() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    let before = ruleset(gateway);
    // The terminal's end: `up` runs in a session that is killed as a whole.
    let script =
        format!("setsid -w sh -c '{BIN} up --confirm 2s; kill -HUP -- -$$; sleep 1' || true");
    gateway.sh(&script).unwrap();
    assert!(protected(&network));
    let status = dnsalt(gateway, &["status"]).exits(0);
    assert!(status.stdout.contains("unless you say: dnsalt confirm"), "{}", status.stdout);
    eventually("undone", Duration::from_secs(6), || ruleset(gateway) == before);
    dnsalt(gateway, &["confirm"]).exits(1);

    dnsalt(gateway, &["up", "--confirm", "2s"]).exits(0);
    dnsalt(gateway, &["confirm"]).exits(0);
    std::thread::sleep(Duration::from_secs(3));
    assert!(protected(&network));

    // Over a policy that was there: back to that one, not to nothing.
    dnsalt(gateway, &["up", "--ports", "30000-30999", "--confirm", "4s"]).exits(0);
    eventually("the first policy", Duration::from_secs(10), || {
        dnsalt(gateway, &["status"]).stdout.contains("64508")
    });
    dnsalt(gateway, &["status"]).exits(0);
}

#[test]
fn names_that_stop_resolving_undo_it() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    // Somebody lets only queries from port 20000 and below out: random ports break DNS.
    gateway.sh("nft add table ip strict; nft 'add chain ip strict post { type filter hook postrouting priority 300; }'; nft add rule ip strict post udp dport 53 udp sport 1024-19999 drop").unwrap();
    let resolver_port = |range: &str| {
        gateway.sysctl("net/ipv4/ip_local_port_range", range).unwrap();
    };
    resolver_port("32768 60999");
    let before = ruleset(gateway);
    let up = dnsalt(gateway, &["up", "--ports", "1024-19999"]).exits(3);
    assert!(
        up.stderr.contains("names do not resolve through the new rules, so they were undone"),
        "{}",
        up.stderr
    );
    assert_eq!(ruleset(gateway), before);
    dnsalt(gateway, &["up", "--ports", "1024-19999", "--no-health"]).exits(0);
    dnsalt(gateway, &["down"]).exits(0);
    dnsalt(gateway, &["up", "--ports", "20000-60000", "--health-name", "www.example.test"])
        .exits(0);
    // Back to the policy that worked.
    dnsalt(gateway, &["up", "--ports", "1024-19999"]).exits(3);
    let status = dnsalt(gateway, &["status", "--json"]).exits(0);
    assert!(status.stdout.contains("\"ports\": \"20000-60000\""), "{}", status.stdout);
}

/// An `up` that fails leaves an earlier one as it was: also that it waits to be confirmed.
#[test]
fn a_failure_does_not_confirm_what_came_before() {
    let Some(network) = network(&["nft"]) else { return };
    let gateway = &network.net.gateway;
    gateway.sh("nft add table ip strict; nft 'add chain ip strict post { type filter hook postrouting priority 300; }'; nft add rule ip strict post udp dport 53 udp sport 1024-19999 drop").unwrap();
    let before = ruleset(gateway);
    dnsalt(gateway, &["up", "--ports", "20000-60000", "--no-health", "--confirm", "9s"]).exits(0);
    dnsalt(gateway, &["up", "--ports", "1024-19999"]).exits(3);
    let status = dnsalt(gateway, &["status"]).exits(0);
    assert!(status.stdout.contains("unless you say: dnsalt confirm"), "{}", status.stdout);
    eventually("undone", Duration::from_secs(12), || ruleset(gateway) == before);
}

#[test]
fn status_tells_when_somebody_interferes() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &["up"]).exits(0);
    gateway.sh("nft flush chain inet dnsalt postrouting").unwrap();
    let changed = dnsalt(gateway, &["status"]).exits(1);
    assert!(changed.stdout.contains("somebody changed our rules"), "{}", changed.stdout);
    dnsalt(gateway, &["up"]).exits(0);
    dnsalt(gateway, &["status"]).exits(0);
    gateway.sh("nft flush ruleset").unwrap();
    let gone = dnsalt(gateway, &["status"]).exits(1);
    assert!(gone.stdout.contains("the rules are gone"), "{}", gone.stdout);
    dnsalt(gateway, &["up"]).exits(0);
    assert!(protected(&network));
    // A state of another boot is stale, the rules are ours all the same.
    gateway
        .sh("sed -i 's/\"boot\": \"[^\"]*\"/\"boot\": \"another\"/' /run/dnsalt/net-*/state.json")
        .unwrap();
    let stale = dnsalt(gateway, &["status"]).exits(0);
    assert!(stale.stdout.contains("not by `up` since this boot"), "{}", stale.stdout);
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(ruleset(gateway), "");
}

/// Both ways into a network namespace lead to one state.
#[test]
fn namespaces_of_a_gateway_are_kept_apart() {
    let Some(network) = network(&["nft", "nsenter"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    gateway.sh("ip netns add blue; ip netns exec blue ip link set lo up").unwrap();
    let run =
        |words: &str| Ended::from(gateway.command("sh").args(["-c", words]).output().unwrap());
    run(&format!("ip netns exec blue {BIN} up --no-health")).exits(0);
    let inside = run(&format!("nsenter --net=/run/netns/blue {BIN} status")).exits(0);
    assert!(inside.stdout.contains("nat, by nft, since"), "{}", inside.stdout);
    dnsalt(gateway, &["status"]).exits(1);
    dnsalt(gateway, &["up"]).exits(0);
    run(&format!("nsenter --net=/run/netns/blue {BIN} down")).exits(0);
    run(&format!("ip netns exec blue {BIN} status")).exits(1);
    dnsalt(gateway, &["status"]).exits(0);
}

/// Killed at any moment, there is all of it or nothing, and the next run mends what is left.
fn killed_fifty_times(backend: &str) {
    let Some(network) = network(&["nft", "iptables-nft", "pgrep"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    // iptables makes its built-in chains as it needs them: their order says nothing.
    let rules = |host| {
        let mut lines: Vec<_> = uncounted(&ruleset(host)).lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    // Other people's rules, made with the same tool.
    if backend == "nft" {
        load_foreign(gateway);
    } else {
        for program in ["iptables-nft", "ip6tables-nft"] {
            gateway.sh(&format!("{program} -t raw -N THEIRS; {program} -t nat -N THEIRS")).unwrap();
        }
    }
    let up = ["up", "--backend", backend];
    let begun = Instant::now();
    dnsalt(gateway, &up).exits(0);
    // Over all of the time that it takes here, and a little more.
    let step = begun.elapsed() / 45;
    let all = rules(gateway);
    dnsalt(gateway, &["down"]).exits(0);
    let nothing = rules(gateway);
    let (mut none, mut whole) = (0, 0);
    for attempt in 0..50 {
        let mut run = gateway
            .command(BIN)
            .args(up)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(step * attempt);
        run.kill();
        drop(run);
        // A transaction that had begun is not ours to stop: its process ends by itself.
        let running =
            "pgrep --ns $$ --nslist net -f 'nft|tables|rules[.]v4' | grep -vxc $$ || true";
        eventually("the firewall's commands have ended", Duration::from_secs(5), || {
            gateway.sh(running).unwrap().trim() == "0"
        });
        let found = rules(gateway);
        if found == nothing {
            none += 1;
        } else {
            assert_eq!(found, all, "attempt {attempt}");
            whole += 1;
        }
        dnsalt(gateway, &["status"]);
        if attempt % 2 == 0 {
            dnsalt(gateway, &up).exits(0);
            dnsalt(gateway, &["status"]).exits(0);
        }
        dnsalt(gateway, &["down"]).exits(0);
        assert_eq!(rules(gateway), nothing, "attempt {attempt}");
    }
    eprintln!("{backend}, killed 50 times: {none} times nothing, {whole} times all of it");
    assert!(none > 0 && whole > 0, "the moments were not spread: {none} and {whole}");
}

#[test]
fn killed_fifty_times_with_nft_there_is_never_half_of_it() {
    killed_fifty_times("nft");
}

#[test]
fn killed_fifty_times_with_iptables_there_is_never_half_of_it() {
    killed_fifty_times("iptables-nft");
}

#[test]
fn runs_at_the_same_time_wait_for_each_other() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    let script = format!(
        "for i in 1 2 3 4 5 6; do {BIN} up --no-health --ports ${{i}}0000-${{i}}9999 >/dev/null & done; wait"
    );
    gateway
        .sh(&script
            .replace("60000-69999", "60000-65535")
            .replace("${i}9999", "$((i < 6 ? i * 10000 + 9999 : 65535))"))
        .unwrap();
    dnsalt(gateway, &["status"]).exits(0);
    gateway.sh(&format!("for i in 1 2 3; do {BIN} up --no-health >/dev/null & {BIN} down >/dev/null & done; wait")).unwrap();
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(ruleset(gateway), "");
}

#[test]
fn the_preflight_warns() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    gateway
        .sh("
nft add table ip early
nft 'add chain ip early post { type nat hook postrouting priority 50; }'
nft add rule ip early post udp dport 53 masquerade
nft 'add chain ip early raw { type filter hook prerouting priority raw; }'
nft add rule ip early raw udp dport 53 notrack
")
        .unwrap();
    gateway.sysctl("net/ipv4/ip_forward", "0").unwrap();
    gateway.sysctl("net/ipv6/conf/all/forwarding", "0").unwrap();
    let up = dnsalt(gateway, &["up", "--no-health", "--source", "10.9.9.9"]).exits(0);
    for words in [
        "NAT rules stand in front of ours and may catch DNS: chain post of table ip early, priority 50",
        "a notrack rule may take DNS past conntrack",
        "forwarding is off",
        "no interface of this machine has the source address 10.9.9.9",
    ] {
        assert!(up.stderr.contains(words), "{words}:\n{}", up.stderr);
    }
    gateway.sh("nft delete table ip early").unwrap();
    let up = dnsalt(gateway, &["up", "--from", "10.53.1.0/24"]).exits(0);
    assert!(!up.stderr.contains("NAT rules stand in front"), "{}", up.stderr);
    assert!(up.stderr.contains("IPv6 queries are not salted"), "{}", up.stderr);
    gateway.enable_forwarding().unwrap();
    let wide = dnsalt(gateway, &["up"]).exits(0);
    assert!(wide.stderr.contains("also those to servers of your own"), "{}", wide.stderr);
    for narrow in [["--iface", "wan0"], ["--source", "keep"], ["--to", "10.53.2.53"]] {
        let up = dnsalt(gateway, &[&["up"], &narrow[..]].concat()).exits(0);
        assert!(!up.stderr.contains("servers of your own"), "{}", up.stderr);
    }
}

#[test]
fn a_dry_run_shows_the_rules_and_does_nothing() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    let shown = dnsalt(gateway, &["up", "--dry-run", "--per-query"]).exits(0);
    let rules = dnsalt(gateway, &["rules", "--for", "nft", "--per-query"]).exits(0);
    assert!(shown.stdout.ends_with(&rules.stdout), "{}", shown.stdout);
    assert_eq!(ruleset(gateway), "");
    assert_eq!(gateway.sh("ls /run").unwrap().trim(), "resolv.conf");
}
