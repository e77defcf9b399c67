//! The rules for FreeBSD's pf, whose translation rules stand apart from its filter rules.

use dnsalt_policy::Policy;

use super::pf::{WHY_PASS, check, each, list, notes, pass, queries, target};
use super::{RenderError, heading};

/// The rules: `nat` lines for the translation part of `/etc/pf.conf`, `pass` lines for its filter
/// part.
///
/// # Errors
/// [`RenderError::PerQuery`] and [`RenderError::Keep`].
pub fn pf_freebsd(policy: &Policy) -> Result<String, RenderError> {
    check(policy)?;
    let mut usage = vec![
        "pf.conf keeps an order: the macro and the nat lines go before the filter rules, the pass"
            .to_owned(),
        "lines among them. Then: pfctl -nf /etc/pf.conf && pfctl -f /etc/pf.conf".to_owned(),
        "Check with: pfctl -ss | grep ':53'".to_owned(),
    ];
    usage.extend(notes(policy));
    let mut text = heading(policy, "FreeBSD pf", &usage);
    let interfaces: Vec<String> = match policy.interfaces() {
        [] => {
            text += "\n# The outgoing interface of this machine: set it.\ndns_if = \"em0\"\n";
            vec!["$dns_if".to_owned()]
        }
        names => names.iter().map(ToString::to_string).collect(),
    };
    text += "\n# Each new flow gets a random port of this range; static-port must not be said.\n";
    for interface in &interfaces {
        text += &each(policy, |family, protocol| {
            let queries = queries(policy, &policy.from(family), family, protocol);
            let target = target(policy, family, &format!("({interface})"));
            format!("nat on {interface} {queries} -> {target}\n")
        });
    }
    text += WHY_PASS;
    let on = list(&interfaces, "");
    text += &each(policy, |family, protocol| pass(policy, &on, family, protocol));
    Ok(text)
}
