//! What the kernel knows: what `status` shows, and what is in the tables of the salt engine.

use dnsalt_bpf::Occupancy;
use dnsalt_salt::layout::Counter;

use super::catalogue as metric;
use super::family::{Definition, Families};
use crate::clock::since_1970;
use crate::engine::SaltReport;
use crate::state::Store;
use crate::status::{self, Bits, Conntrack, Status};

/// What was read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) status: Status,
    pub(super) occupancy: Option<Occupancy>,
}

/// Reads it now, in the network namespace of the calling thread.
pub(super) fn read(store: &Store) -> anyhow::Result<Reading> {
    let status = status::look(store)?;
    let occupancy = match &status.bpffs {
        Some(bpffs) => dnsalt_bpf::occupancy(bpffs)?,
        None => None,
    };
    Ok(Reading { status, occupancy })
}

impl Reading {
    /// All but whether it is well. `key_renewed` is in seconds since 1970.
    pub(super) fn export(&self, key_renewed: Option<u64>, to: &mut Families) {
        let status = &self.status;
        if let Some(since) = status.since {
            to.add(&metric::INSTALLED, since);
            if status.salt.is_some() {
                let since = key_renewed.unwrap_or(0).max(since);
                to.add(&metric::KEY_AGE, since_1970().as_secs().saturating_sub(since));
            }
        }
        if let (Some(ports), Some(_)) = (status.ports, status.engine) {
            to.add(&metric::PORTS, ports);
        }
        if let Some(salt) = &status.salt {
            export_salt(salt, to);
        } else {
            self.export_nat(to);
        }
        if let Some(occupancy) = &self.occupancy {
            to.add(&metric::SALT_LOCKED, occupancy.locked_down);
            to.add(&metric::SALT_OUTSTANDING, occupancy.outstanding());
            to.add(&metric::SALT_SLOTS, occupancy.slots());
            to.add(&metric::SALT_HEADROOM, occupancy.headroom());
        }
    }

    fn export_nat(&self, to: &mut Families) {
        let status = &self.status;
        if status.engine != Some("nat") {
            return;
        }
        if let Some(caught) = status.caught {
            to.add(&metric::NAT_FLOWS, caught);
        }
        if let Some(unsolicited) = status.unsolicited {
            to.add(&metric::NAT_UNSOLICITED, unsolicited);
        }
        if status.settings.is_some() {
            to.add(&metric::NAT_SHIELD, status.lacks.is_none());
        }
        if let Some(bits) = &status.strength {
            export_bits(bits, to);
        }
        if let Some(conntrack) = &status.conntrack {
            export_conntrack(conntrack, to);
        }
    }
}

fn export_bits(bits: &Bits, to: &mut Families) {
    to.add_by(&metric::PORT_BITS, &["now"], bits.now);
    to.add_by(&metric::PORT_BITS, &["worst"], bits.worst);
    let choices = f64::from(bits.strength.choices);
    to.add(&metric::NAT_CHOICES, bits.strength.choices);
    to.add(&metric::NAT_OPEN, bits.open);
    to.add(&metric::NAT_HEADROOM, (1.0 - bits.open as f64 / choices.max(1.0)).max(0.0));
    if let Some(cap) = bits.cap {
        to.add(&metric::NAT_CAP, cap);
    }
}

fn export_conntrack(conntrack: &Conntrack, to: &mut Families) {
    to.add(&metric::CONNTRACK_DNS, conntrack.dns_entries);
    // 0 where the kernel does not say.
    let usage = conntrack.usage;
    if usage.max > 0 {
        to.add(&metric::CONNTRACK, usage.entries);
        to.add(&metric::CONNTRACK_MAX, usage.max);
    }
}

fn export_salt(salt: &SaltReport, to: &mut Families) {
    for case in ["now", "worst"] {
        to.add_by(&metric::PORT_BITS, &[case], salt.port_bits);
    }
    for case in ["now", "worst"] {
        to.add_by(&metric::ID_BITS, &[case], salt.id_bits);
    }
    to.add(&metric::ADDRESS_BITS, salt.address_bits);
    to.add(&metric::SALT_INTERFACES, salt.interfaces.len());
    // Samples of one family have to come one after another.
    let mut all = Counter::ALL.map(|counter| (place(counter), salt.count(counter)));
    all.sort_by_key(|((definition, _), _)| definition.name);
    for ((definition, label), count) in all {
        let labels = [label];
        to.add_by(definition, &labels[..definition.labels.len()], count);
    }
}

/// The family that a counter belongs to, and its label there.
fn place(counter: Counter) -> (&'static Definition, &'static str) {
    match counter {
        Counter::Salted => (&metric::SALT_QUERIES, "salted"),
        Counter::Identical => (&metric::SALT_QUERIES, "identical"),
        Counter::Full => (&metric::SALT_QUERIES, "table_full"),
        Counter::Unsalted => (&metric::SALT_QUERIES, "unsalted"),
        Counter::AnsweredTc => (&metric::SALT_QUERIES, "answered_tc"),
        Counter::Retransmitted => (&metric::SALT_RETRANSMISSIONS, ""),
        Counter::Restored => (&metric::SALT_REPLIES, "restored"),
        Counter::Truncated => (&metric::SALT_REPLIES, "truncated"),
        Counter::Passed => (&metric::SALT_REPLIES, "passed"),
        Counter::WrongCase => (&metric::SALT_CASE, ""),
        Counter::Cased => (&metric::SALT_CASED, ""),
        Counter::CasedLetters => (&metric::SALT_LETTERS, ""),
        Counter::CaseLearned => (&metric::SALT_LEARNED, ""),
        Counter::Cookied => (&metric::SALT_COOKIES, "sent"),
        Counter::CookieReturned => (&metric::SALT_COOKIES, "returned"),
        Counter::CookieMissing => (&metric::SALT_COOKIES, "missing"),
        Counter::CookieLearned => (&metric::SALT_COOKIES_LEARNED, ""),
        Counter::Forged => (&metric::SALT_DROPPED, "forged"),
        Counter::Duplicate => (&metric::SALT_DROPPED, "duplicate"),
        Counter::Late => (&metric::SALT_DROPPED, "late"),
        Counter::WrongId => (&metric::SALT_DROPPED, "wrong_id"),
        Counter::WrongQuestion => (&metric::SALT_DROPPED, "wrong_question"),
        Counter::WrongServer => (&metric::SALT_DROPPED, "wrong_server"),
        Counter::Unreadable => (&metric::SALT_DROPPED, "unreadable"),
        Counter::IcmpTranslated => (&metric::SALT_ICMP, "translated"),
        Counter::IcmpDropped => (&metric::SALT_ICMP, "dropped"),
        Counter::Lockdowns => (&metric::SALT_LOCKDOWNS, ""),
        Counter::EventsLost => (&metric::SALT_EVENTS_LOST, ""),
    }
}
