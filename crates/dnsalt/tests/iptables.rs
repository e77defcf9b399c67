//! `up`, `status`, `down` with both iptables, on a gateway of the lab.

mod common;

use common::{Network, can_run, dnsalt, dnsalt_with_path, network, ports_seen, programs};
use dnsalt_lab::Host;

const FIXED: u16 = 44444;
const VARIANTS: [&str; 2] = ["nft", "legacy"];

/// Other people's rules, for both families.
const FOREIGN: &str = "\
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A OUTPUT -p udp -m udp --dport 123 -j CT --notrack
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i lan0 -j MARK --set-xmark 0x7/0xffffffff
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -o wan0 -m comment --comment \"not dnsalt's\" -j MASQUERADE
COMMIT
";

fn save(host: &Host, variant: &str) -> String {
    let text = host
        .sh(&format!("iptables-{variant}-save; ip6tables-{variant}-save; nft list ruleset"))
        .unwrap();
    common::uncounted(&text)
}

fn set_up(variant: &str) -> Option<Network> {
    let network = network(&["nft", "iptables-nft", "iptables-legacy"])?;
    for program in ["iptables", "ip6tables"] {
        let restore = format!("{program}-{variant}-restore");
        let loaded = network.net.gateway.command(restore).output_with_input(FOREIGN.as_bytes());
        assert!(loaded.unwrap().status.success());
    }
    Some(network)
}

#[test]
fn up_and_down_with_both_variants() {
    for variant in VARIANTS {
        let Some(network) = set_up(variant) else {
            return;
        };
        let gateway = &network.net.gateway;
        let backend = format!("iptables-{variant}");
        let before = save(gateway, variant);
        assert_eq!(ports_seen(&network, &network.net.resolver, FIXED, 1), [FIXED; 2]);
        let up = dnsalt(gateway, &["up", "--backend", &backend]).exits(0);
        assert!(up.stdout.contains(&format!("nat, by {backend}")), "{}", up.stdout);
        let ports = ports_seen(&network, &network.net.resolver, FIXED, 1);
        assert!(ports.iter().all(|port| *port != FIXED), "{ports:?}");
        let local = ports_seen(&network, gateway, 53, 1);
        assert!(local.iter().all(|port| *port >= 1024), "the trap of port 53: {local:?}");
        let status = dnsalt(gateway, &["status"]).exits(0);
        assert!(status.stdout.contains("caught     "), "{}", status.stdout);
        assert!(!status.stdout.contains("caught     0"), "{}", status.stdout);
        let again = dnsalt(gateway, &["up", "--backend", &backend]).exits(0);
        assert!(again.stdout.contains("nothing was changed"), "{}", again.stdout);
        dnsalt(gateway, &["up", "--backend", &backend, "--ports", "20000-20999"]).exits(0);
        let ports = ports_seen(&network, &network.net.resolver, FIXED, 1);
        assert!(ports.iter().all(|port| (20000..21000).contains(port)), "{ports:?}");
        dnsalt(gateway, &["down"]).exits(0);
        assert_eq!(save(gateway, variant), before, "{variant}");
        assert_eq!(ports_seen(&network, &network.net.resolver, FIXED, 1), [FIXED; 2]);
    }
}

/// On tables that nobody used before, nothing is left that filters or translates.
#[test]
fn tables_that_were_not_there_are_gone_again() {
    let Some(network) = network(&["nft", "iptables-nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    dnsalt(gateway, &["up", "--backend", "iptables-nft"]).exits(0);
    assert!(gateway.sh("nft list ruleset").unwrap().contains("DNSALT"));
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(gateway.sh("nft list ruleset").unwrap(), "");
}

#[test]
fn the_timeout_policy_shortens_the_stickiness() {
    for variant in VARIANTS {
        let Some(network) = set_up(variant) else {
            return;
        };
        let gateway = &network.net.gateway;
        let ports_with_a_pause = || {
            let first = ports_seen(&network, &network.net.resolver, FIXED, 1);
            std::thread::sleep(std::time::Duration::from_millis(2300));
            (first, ports_seen(&network, &network.net.resolver, FIXED, 1))
        };
        dnsalt(gateway, &["up", "--backend", &format!("iptables-{variant}")]).exits(0);
        let (first, second) = ports_with_a_pause();
        assert!(first.iter().zip(&second).all(|(a, b)| a != b), "{first:?} {second:?}");
        // What `iptables-save` prints loads again: the name of the policy is not cut.
        let reload = format!(
            "iptables-{variant}-save > /run/saved; iptables-{variant}-restore < /run/saved"
        );
        gateway.sh(&reload).unwrap();
        dnsalt(gateway, &["up", "--backend", &format!("iptables-{variant}"), "--timeout", "0"])
            .exits(0);
        let (first, second) = ports_with_a_pause();
        assert_eq!(first, second);
        dnsalt(gateway, &["down"]).exits(0);
    }
}

/// Without nft, iptables is taken, whichever variant is installed under that name.
#[test]
fn iptables_is_taken_where_there_is_no_nft() {
    for multi in ["xtables-nft-multi", "xtables-legacy-multi"] {
        if !can_run(&[multi]) {
            return;
        }
        let Some(network) = network(&["iptables"]) else {
            return;
        };
        let names = ["iptables", "ip6tables"]
            .map(|name| ["", "-save", "-restore"].map(|suffix| format!("{name}{suffix}")));
        let mut links: Vec<(&str, &str)> =
            names.iter().flatten().map(|n| (n.as_str(), multi)).collect();
        links.push(("sh", "sh"));
        let path = programs(&links);
        let gateway = &network.net.gateway;
        let up = dnsalt_with_path(gateway, path.path(), &["up"]).exits(0);
        assert!(up.stdout.contains("nat, by iptables\n"), "{}", up.stdout);
        let ports = ports_seen(&network, &network.net.resolver, FIXED, 1);
        assert!(ports.iter().all(|port| *port != FIXED), "{ports:?}");
        dnsalt_with_path(gateway, path.path(), &["status"]).exits(0);
        let refused = dnsalt_with_path(gateway, path.path(), &["up", "--per-query"]).exits(2);
        assert!(refused.stderr.contains("`per-query` needs nftables"), "{}", refused.stderr);
        dnsalt_with_path(gateway, path.path(), &["down"]).exits(0);
        dnsalt_with_path(gateway, path.path(), &["status"]).exits(1);
    }
}

#[test]
fn without_any_firewall_it_says_what_to_install() {
    let Some(network) = network(&[]) else { return };
    let nothing = programs(&[]);
    let up = dnsalt_with_path(&network.net.gateway, nothing.path(), &["up"]).exits(3);
    assert!(
        up.stderr.contains("nft: not found; install it (Debian, Ubuntu: apt install nftables)"),
        "{}",
        up.stderr
    );
    dnsalt_with_path(&network.net.gateway, nothing.path(), &["down"]).exits(0);
}

/// From one firewall to the other: the rules move, none are left behind.
#[test]
fn the_firewall_can_be_changed() {
    let Some(network) = set_up("nft") else { return };
    let gateway = &network.net.gateway;
    let before = save(gateway, "nft");
    dnsalt(gateway, &["up"]).exits(0);
    dnsalt(gateway, &["up", "--backend", "iptables-nft"]).exits(0);
    let rules = save(gateway, "nft");
    assert!(rules.contains("DNSALT") && !rules.contains("table inet dnsalt"), "{rules}");
    dnsalt(gateway, &["up"]).exits(0);
    let rules = save(gateway, "nft");
    assert!(!rules.contains("DNSALT") && rules.contains("table inet dnsalt"), "{rules}");
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(save(gateway, "nft"), before);
}

/// `iptables` is one of the variants: the same rules by another name.
#[test]
fn one_iptables_has_two_names() {
    let Some(network) = set_up("nft") else { return };
    let gateway = &network.net.gateway;
    let before = save(gateway, "nft");
    for backend in ["iptables", "iptables-nft", "iptables", "iptables-legacy", "iptables"] {
        dnsalt(gateway, &["up", "--backend", backend]).exits(0);
        let ports = ports_seen(&network, &network.net.resolver, FIXED, 1);
        assert!(ports.iter().all(|port| *port != FIXED), "{backend}: {ports:?}");
        dnsalt(gateway, &["status"]).exits(0);
    }
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(save(gateway, "nft"), before);
    let kept = gateway.sh("iptables-legacy-save; ip6tables-legacy-save").unwrap();
    assert!(!kept.contains("DNSALT"), "{kept}");
}

/// The second family refused, or the second table of the first: what was in already is taken back.
#[test]
fn half_of_it_is_taken_back() {
    let Some(network) = set_up("nft") else { return };
    let gateway = &network.net.gateway;
    let before = save(gateway, "nft");
    let only_raw = "sed '/^.nat/,$d' \"$4\" > /run/raw; $real --noflush /run/raw;";
    for (refusing, half) in [("ip6tables", ""), ("iptables", only_raw), ("ip6tables", only_raw)] {
        let names = ["iptables", "ip6tables"].map(|name| {
            ["", "-save", "-restore"].map(|s| (format!("{name}{s}"), format!("{name}-nft{s}")))
        });
        let mut links: Vec<(&str, &str)> =
            names.iter().flatten().map(|(name, target)| (name.as_str(), target.as_str())).collect();
        links.extend([("sh", "sh"), ("sed", "sed")]);
        let path = programs(&links);
        let restore = path.path().join(format!("{refusing}-restore"));
        let real = std::fs::read_link(&restore).unwrap();
        // It tests well, and then refuses.
        let script = format!(
            "#!/bin/sh\nreal={}\ncase \"$*\" in *--test* | *undo*) exec $real \"$@\";; esac\n{half}\necho no room >&2\nexit 4\n",
            real.display()
        );
        std::fs::remove_file(&restore).unwrap();
        std::fs::write(&restore, script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&restore, executable).unwrap();
        let up = dnsalt_with_path(gateway, path.path(), &["up"]).exits(3);
        let said = &up.stderr;
        assert!(said.contains("nothing was changed") && said.contains("no room"), "{said}");
        assert_eq!(save(gateway, "nft"), before, "{refusing} {half}");
    }
}

/// Where nft wrote into the tables of iptables-nft, iptables cannot show them any more: refused
/// before, and undone all the same after.
#[test]
fn tables_that_iptables_cannot_show() {
    let Some(network) = network(&["nft", "iptables-nft"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    let spoil = || {
        gateway.sh("nft add table ip nat; nft 'add chain ip nat x'; nft add rule ip nat x meta mark 7 meta mark set numgen inc mod 3").unwrap()
    };
    gateway.sh("iptables-nft -t nat -N THEIRS").unwrap();
    dnsalt(gateway, &["up", "--backend", "iptables-nft"]).exits(0);
    spoil();
    assert!(gateway.sh("iptables-nft-save").unwrap().contains("is incompatible"));
    dnsalt(gateway, &["down"]).exits(0);
    assert!(!gateway.sh("nft list ruleset").unwrap().contains("DNSALT"));
    let refused = dnsalt(gateway, &["up", "--backend", "iptables-nft"]).exits(3);
    assert!(
        refused.stderr.contains("iptables cannot show its IPv4 table nat"),
        "{}",
        refused.stderr
    );
    dnsalt(gateway, &["up"]).exits(0);
}
