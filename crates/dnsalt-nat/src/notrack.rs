//! Rules that keep what the salt engine salts out of conntrack, by nftables: no entry is made for a query,
//! and none has to be found for its reply.
//!
//! The engine stands nearer to the wire than any rule: queries come by here as the client sent them, replies
//! as the client gets them. Whoever is salted is told by the same words as there: interface, client, server,
//! port, and the bit that tells a query from a reply.

use dnsalt_policy::{Conntrack, Family, Policy, Source};

use crate::command::{CommandError, run};
use crate::driver::{deletion, listing};
use crate::render::comma;
use crate::render::nft::{addresses, nfproto, ports};

/// Our table: of the family `inet`, as all of ours.
pub(crate) const TABLE: &str = "dnsalt-notrack";
/// The first bit behind the query ID.
const QUERY: &str = "@th,80,1 0";
const REPLY: &str = "@th,80,1 1";

/// Families whose queries are to be kept out: those whose addresses the engine draws, or nobody changes.
pub fn families(policy: &Policy) -> Vec<Family> {
    if policy.salt().conntrack == Conntrack::On {
        return Vec::new();
    }
    let source = policy.source();
    let is_ours = |family: &Family| *source == Source::Keep || !source.choices(*family).is_empty();
    policy.families().into_iter().filter(is_ours).collect()
}

/// The rules for some interfaces, as a file for `nft -f`; none if conntrack is to see everything.
pub fn rules(policy: &Policy, interfaces: &[String]) -> Option<String> {
    let families = families(policy);
    if families.is_empty() {
        return None;
    }
    let names: Vec<_> = interfaces.iter().map(|name| format!("\"{name}\"")).collect();
    let names = match names.as_slice() {
        [name] => name.clone(),
        names => format!("{{ {} }}", comma(names)),
    };
    let all = |from: &str, to: &str, port: &str, bit: &str, way: &str| -> String {
        families
            .iter()
            .map(|family| {
                let from = addresses(*family, from, &policy.from(*family));
                let to = addresses(*family, to, &policy.to(*family));
                let (nfproto, ports) = (nfproto(*family), ports(policy));
                format!("\t\t{nfproto}{from}{to} udp {port} {ports} {bit} {way} {names} notrack\n")
            })
            .collect()
    };
    let queries = |way: &str| all("saddr", "daddr", "dport", QUERY, way);
    let replies = all("daddr", "saddr", "sport", REPLY, "iifname");
    // What is for this machine itself leaves by no interface. The way out is looked up last: only for DNS.
    let forwarded = queries("fib daddr oifname");
    let own = queries("oifname");
    Some(format!(
        "{}\ntable inet {TABLE} {{\n\
         \tchain prerouting {{\n\
         \t\ttype filter hook prerouting priority raw; policy accept;\n\
         {forwarded}{replies}\t}}\n\n\
         \tchain output {{\n\
         \t\ttype filter hook output priority raw; policy accept;\n\
         {own}\t}}\n\
         }}\n",
        deletion(TABLE)
    ))
}

/// Puts the rules in, in the place of others of ours; or takes these out, if there are to be none.
///
/// # Errors
/// When `nft` is missing or refuses: nothing is changed.
pub fn apply(policy: &Policy, interfaces: &[String]) -> Result<(), CommandError> {
    match rules(policy, interfaces) {
        Some(rules) => run("nft", &["--file", "-"], Some(&rules)).map(drop),
        None => remove(),
    }
}

/// Takes out what is ours; it is fine if nothing is.
///
/// # Errors
/// When `nft` refuses.
pub fn remove() -> Result<(), CommandError> {
    if installed()?.is_none() {
        return Ok(());
    }
    run("nft", &["--file", "-"], Some(&deletion(TABLE))).map(drop)
}

/// What of ours is in the kernel, as `nft` lists it; none if nothing is. Where there is no `nft` there is none.
///
/// # Errors
/// When `nft` refuses.
pub fn installed() -> Result<Option<String>, CommandError> {
    match listing(TABLE) {
        Err(CommandError::Missing { .. }) => Ok(None),
        listing => listing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &str) -> Option<String> {
        let policy =
            toml::from_str::<dnsalt_policy::Settings>(settings).unwrap().resolve().unwrap();
        rules(&policy, &["wan0".to_owned(), "wan1".to_owned()])
    }

    #[test]
    fn only_families_that_somebody_cares_for_are_kept_out() {
        assert_eq!(of("source = '192.0.2.1'"), None);
        let one = of("source = '192.0.2.1'\nconntrack = 'off'").unwrap();
        assert!(one.contains("ipv4 udp dport 53") && !one.contains("ipv6"), "{one}");
        let both = of("source = 'keep'\nconntrack = 'off'").unwrap();
        assert!(both.contains("ipv4 udp dport 53") && both.contains("ipv6 udp sport 53"), "{both}");
    }

    #[test]
    fn replies_are_matched_the_other_way_round() {
        let text = of(
            "source = '192.0.2.1'\nconntrack = 'off'\nfrom = ['10.0.0.0/8']\nto = ['198.51.100.1']",
        )
        .unwrap();
        for line in [
            "ip saddr { 10.0.0.0/8 } ip daddr { 198.51.100.1 } udp dport 53 @th,80,1 0 fib daddr oifname { \"wan0\", \"wan1\" } notrack",
            "ip saddr { 10.0.0.0/8 } ip daddr { 198.51.100.1 } udp dport 53 @th,80,1 0 oifname { \"wan0\", \"wan1\" } notrack",
            "ip daddr { 10.0.0.0/8 } ip saddr { 198.51.100.1 } udp sport 53 @th,80,1 1 iifname { \"wan0\", \"wan1\" } notrack",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
