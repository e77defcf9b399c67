//! What is wrong, in words.

use std::time::Duration;

use crate::clock::Moment;
use crate::engine::Installed;
use crate::state::State;

/// So long after its time an `up --confirm` may take to be undone.
const LATE: Duration = Duration::from_secs(5);

/// Where the state and the kernel do not agree.
pub(super) fn problems(state: Option<&State>, installed: Option<&Installed>) -> Vec<String> {
    let mut problems = Vec::new();
    match (state, installed) {
        (Some(state), None) if state.complete.is_some() => problems.push(
            "the rules are gone: something flushed them (a firewall that reloads does); run `dnsalt up` again".to_owned(),
        ),
        (Some(_), None) => problems.push(
            "an `up` was interrupted before its rules were in; run it again, or `dnsalt down`".to_owned(),
        ),
        (Some(state), Some(installed)) => match &state.complete {
            None => problems.push(
                "an `up` was interrupted after its rules were in, unchecked; run it again, or `dnsalt down`".to_owned(),
            ),
            Some(complete) if complete.fingerprint != installed.fingerprint => problems.push(
                "somebody changed our rules since `up`; run it again".to_owned(),
            ),
            Some(_) => {}
        },
        (None, _) => {}
    }
    if let Some(missing) = installed.and_then(|installed| installed.missing.as_ref()) {
        problems.push(format!("missing: {missing}; run `dnsalt up` again"));
    }
    if let Some(unconfirmed) = state.and_then(|state| state.unconfirmed.as_ref())
        && unconfirmed.undone_at.after(LATE) < Moment::now()
    {
        problems
            .push("nobody confirmed in time, and nobody undid it; run `dnsalt down`".to_owned());
    }
    problems
}
