//! What the two dialects of pf have in common.

use dnsalt_policy::{Family, Policy, Prefix, Protocol, Source};

use super::{RenderError, comma};

/// Refuses what no pf can do.
pub(super) fn check(policy: &Policy) -> Result<(), RenderError> {
    if policy.per_query() {
        return Err(RenderError::PerQuery("pf"));
    }
    if *policy.source() == Source::Keep {
        return Err(RenderError::Keep);
    }
    Ok(())
}

/// What the rules do not give of what the policy asks, for the heading.
pub(super) fn notes(policy: &Policy) -> Vec<String> {
    let mut notes = vec![
        "Replies that belong to no query are left to block rules of your own; these lines drop none."
            .to_owned(),
    ];
    let widest = policy.ports().widest();
    if widest.count() < policy.ports().count() {
        notes.push(format!(
            "pf takes one range of ports, so the widest alone is used: {widest}, {:.1} bits.",
            f64::from(widest.count()).log2()
        ));
    }
    if Family::BOTH.iter().any(|family| policy.source().pool(*family).len() > 1) {
        notes.push("pf takes the source addresses in turn (round-robin): they add no bits.".into());
    }
    notes
}

/// One line for each family and protocol of the policy.
pub(super) fn each(policy: &Policy, line: impl Fn(Family, Protocol) -> String) -> String {
    let mut text = String::new();
    for family in policy.families() {
        for &protocol in policy.protocols() {
            text += &line(family, protocol);
        }
    }
    text
}

/// `inet proto udp from 10.0.0.0/8 to any port 53`.
pub(super) fn queries(
    policy: &Policy,
    from: &[Prefix],
    family: Family,
    protocol: Protocol,
) -> String {
    let family_keyword = match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    };
    format!(
        "{family_keyword} proto {} from {} to {} port {}",
        protocol.keyword(),
        list(from, "any"),
        list(&policy.to(family), "any"),
        list(policy.dns_ports(), "53"),
    )
}

/// The filter rule that keeps the state for a short time only. It stands behind the translation,
/// so it sees translated sources and names none.
pub(super) fn pass(policy: &Policy, on: &str, family: Family, protocol: Protocol) -> String {
    let timeouts = match policy.timeout() {
        Some(s) if protocol == Protocol::Udp => {
            format!(" (udp.first {s}, udp.single {s}, udp.multiple {s})")
        }
        _ => String::new(),
    };
    format!(
        "pass out quick on {on} {} keep state{timeouts}\n",
        queries(policy, &[], family, protocol)
    )
}

/// Where to translate to: `ADDRESS port LOW:HIGH`.
pub(super) fn target(policy: &Policy, family: Family, outgoing: &str) -> String {
    let range = policy.ports().widest();
    let address = list(&policy.source().pool(family), outgoing);
    format!("{address} port {}:{}", range.low(), range.high())
}

/// pf's list: nothing, one, or several in braces.
pub(super) fn list<T: ToString>(items: &[T], none: &str) -> String {
    match items {
        [] => none.to_owned(),
        [one] => one.to_string(),
        many => format!("{{ {} }}", comma(many.iter().map(ToString::to_string))),
    }
}

/// The comment above the filter rules.
pub(super) const WHY_PASS: &str = "
# States are kept for a short time only: pf's default of 30 to 60 s would leave every port open
# for forged replies long after the answer came. Where rules of your own pass DNS already, give
# them these state options and leave these lines out.
";
