//! The text of the rules, for each firewall, as files beside this one: what a change of the
//! renderers changes for users is seen in the review. Renew them with `INSTA_UPDATE=always`.

use dnsalt_nat::render::{Firewall, RenderError, rules};
use dnsalt_policy::Settings;

const FIREWALLS: [(&str, Firewall); 4] = [
    ("nft", Firewall::Nft),
    ("iptables", Firewall::Iptables),
    ("pf-openbsd", Firewall::PfOpenbsd),
    ("pf-freebsd", Firewall::PfFreebsd),
];

fn rendered(settings: &str, firewall: Firewall) -> Result<String, RenderError> {
    let policy = toml::from_str::<Settings>(settings).unwrap().resolve().unwrap();
    let version = format!("dnsalt {}:", env!("CARGO_PKG_VERSION"));
    rules(&policy, firewall).map(|text| text.replace(&version, "dnsalt VERSION:"))
}

fn golden(name: &str, settings: &str, only: &[&str]) {
    for (word, firewall) in FIREWALLS {
        if only.is_empty() || only.contains(&word) {
            let text = rendered(settings, firewall).unwrap();
            insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!(format!("{name}.{word}"), text);
            });
        }
    }
}

#[test]
fn the_default() {
    golden("default", "", &[]);
}

#[test]
fn a_gateway_with_everything_narrowed() {
    golden(
        "narrow",
        "from = ['10.0.0.0/8', '10.1.0.0/16', '192.0.2.7', '2001:db8::/32']
         to = ['198.51.100.53', '203.0.113.0/24', '2001:db8:53::/48']
         iface = ['eth1', 'ppp0']
         dns-port = [5353, 53]
         ports = '20000-40000'
         avoid = ['30000-30999']
         timeout = 5",
        &[],
    );
}

#[test]
fn a_pool_of_addresses() {
    golden("pool", "source = '192.0.2.1-192.0.2.3,2001:db8::1'\navoid = []", &[]);
}

#[test]
fn only_ipv4_udp_and_the_kernels_own_timeouts() {
    golden("ipv4-udp", "from = ['10.0.0.0/8']\nproto = ['udp']\ntimeout = 0\navoid = []", &[]);
}

#[test]
fn only_the_port() {
    golden("keep", "source = 'keep'", &["nft", "iptables"]);
}

#[test]
fn a_port_for_every_query() {
    golden("per-query", "per-query = true\niface = ['wan0']", &["nft"]);
}

#[test]
fn what_a_firewall_cannot_do_is_refused() {
    for firewall in [Firewall::Iptables, Firewall::PfOpenbsd, Firewall::PfFreebsd] {
        assert!(matches!(rendered("per-query = true", firewall), Err(RenderError::PerQuery(_))));
    }
    assert_eq!(rendered("source = 'keep'", Firewall::PfFreebsd), Err(RenderError::Keep));
    let many = "dns-port = [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]";
    assert_eq!(rendered(many, Firewall::Iptables), Err(RenderError::ManyPorts));
}
