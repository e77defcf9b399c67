//! The rules for OpenBSD's pf, for `pf.conf` (OpenBSD 4.7 and later).

use dnsalt_policy::Policy;

use super::pf::{WHY_PASS, check, each, list, notes, pass, queries, target};
use super::{RenderError, heading};

/// The rules, to be put at the end of `/etc/pf.conf`.
///
/// # Errors
/// [`RenderError::PerQuery`] and [`RenderError::Keep`].
pub fn pf_openbsd(policy: &Policy) -> Result<String, RenderError> {
    check(policy)?;
    let mut usage = vec![
        "Put this at the end of /etc/pf.conf, then: pfctl -nf /etc/pf.conf && pfctl -f /etc/pf.conf"
            .to_owned(),
        "Check with: pfctl -ss | grep ':53'".to_owned(),
    ];
    usage.extend(notes(policy));
    let on = list(policy.interfaces(), "egress");
    let own_address = match policy.interfaces() {
        [one] => format!("({one})"),
        _ => "(egress)".to_owned(),
    };
    let mut text = heading(policy, "OpenBSD pf", &usage);
    text += "\n# Each new flow gets a random port of this range; static-port must not be said.\n";
    text += &each(policy, |family, protocol| {
        let queries = queries(policy, &policy.from(family), family, protocol);
        format!("match out on {on} {queries} nat-to {}\n", target(policy, family, &own_address))
    });
    text += WHY_PASS;
    text += &each(policy, |family, protocol| pass(policy, &on, family, protocol));
    Ok(text)
}
