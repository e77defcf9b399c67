//! The zone: what its names are.
//!
//! ```text
//!   ZONE                          SOA, NS, TXT (what this is)
//!   ns.ZONE                       A, AAAA
//!   porttest.ZONE                 CNAME t.c.9.TOKEN.p.ZONE      likewise txidtest (i) and check (j)
//!   t.c.9.TOKEN.p.ZONE            first a referral to   9.TOKEN.p.ZONE,
//!                                 then one to         c.9.TOKEN.p.ZONE,
//!                                 then CNAME t.c.8.TOKEN.p.ZONE
//!   t.c.1.TOKEN.p.ZONE            in the end: TXT
//!   t.c.6.TOKEN.w.ZONE            what a browser looks up, and the same of x, y, z; in the end: nothing
//! ```
//!
//! One lookup makes a resolver ask at least 28 times, and follows neither more aliases (9) nor more referrals in
//! a row (2) than resolvers let pass.

use std::net::IpAddr;
use std::str::FromStr;

use dnsalt_wire::dns::Name;

/// Aliases that a lookup of a test follows; Unbound follows 11, `PowerDNS` Recursor 10.
pub(crate) const HOPS: u8 = 9;
/// The same for each of the names that a browser looks up: it asks for several types of each.
const WEB_HOPS: u8 = 6;
/// Labels below which these are, one for each.
const WEB: [&[u8]; 4] = [b"w", b"x", b"y", b"z"];
/// Labels of the path between a hop and its token.
const PATH: [&[u8]; 2] = [b"t", b"c"];
/// The longest zone: the longest name under it still has to be one.
const LONGEST: usize = 180;

/// What a lookup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// `porttest`: the ports.
    Ports,
    /// `txidtest`: the query IDs.
    Ids,
    /// `check`: all that is known, as JSON.
    Json,
    /// The page.
    Web,
}

impl Test {
    /// Those that are asked for by name.
    pub(crate) const NAMED: [Test; 3] = [Test::Ports, Test::Ids, Test::Json];

    /// The name to ask for.
    pub(crate) fn entry(self) -> &'static [u8] {
        match self {
            Test::Ports => b"porttest",
            Test::Ids => b"txidtest",
            Test::Json => b"check",
            Test::Web => b"",
        }
    }

    /// The labels below which its names are.
    pub(crate) fn labels(self) -> &'static [&'static [u8]] {
        match self {
            Test::Ports => &[b"p"],
            Test::Ids => &[b"i"],
            Test::Json => &[b"j"],
            Test::Web => &WEB,
        }
    }

    /// Aliases of a lookup.
    pub(crate) fn hops(self) -> u8 {
        if self == Test::Web { WEB_HOPS } else { HOPS }
    }

    fn of_label(label: &[u8]) -> Option<Self> {
        let all = [Test::Ports, Test::Ids, Test::Json, Test::Web];
        let has = |test: &Test| test.labels().iter().any(|own| own.eq_ignore_ascii_case(label));
        all.into_iter().find(has)
    }
}

/// What a name of the zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// Not in the zone.
    Elsewhere,
    /// The zone itself.
    Apex,
    /// The name server.
    NameServer,
    /// Where a test begins.
    Entry(Test),
    /// A name with a token.
    Hop(Hop<'a>),
    /// There are names below, but nothing here.
    Empty,
    /// No such name.
    Nothing,
}

/// `t.c.HOP.TOKEN.TEST`, or a part of it from the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop<'a> {
    /// For what.
    pub(crate) test: Test,
    /// The label with the token.
    pub(crate) token: &'a [u8],
    /// Hops that are left, itself included; 0 where the name has none.
    pub(crate) left: u8,
    /// Labels of the path before it: 2 for a whole name.
    pub(crate) path: usize,
}

/// A zone with its name server.
#[derive(Clone, Debug)]
pub struct Zone {
    wire: Vec<u8>,
    text: String,
    addresses: Vec<IpAddr>,
    has_page: bool,
}

/// Why a text is no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no zone that can be served: {why}")]
pub struct ZoneError {
    text: String,
    why: &'static str,
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let failed = |why| ZoneError { text: text.to_owned(), why };
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() {
            return Err(failed(
                "give a name that is delegated to this machine, like t.example.net",
            ));
        }
        let mut wire = Vec::new();
        for label in name.split('.') {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if label.is_empty() || label.len() > 63 || !label.bytes().all(allowed) {
                return Err(failed("labels are 1 to 63 letters, digits, hyphens and underscores"));
            }
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        if wire.len() > LONGEST {
            return Err(failed(
                "it is longer than 179 letters, and the names of the test go before it",
            ));
        }
        Ok(Zone { wire, text: name, addresses: Vec::new(), has_page: false })
    }
}

impl Zone {
    /// With these addresses for its name server `ns.ZONE`.
    #[must_use]
    pub fn with_addresses(mut self, addresses: Vec<IpAddr>) -> Self {
        self.addresses = addresses;
        self
    }

    /// With a page: the zone itself has the addresses of its name server, so that browsers find it there.
    pub(crate) fn with_page(mut self) -> Self {
        self.has_page = true;
        self
    }

    /// The names that a browser looks up for a token.
    pub(crate) fn browser_names(&self, token: &str) -> Vec<String> {
        let label = |label: &&[u8]| char::from(label[0]);
        let name = |label| format!("t.c.{WEB_HOPS}.{token}.{label}.{}", self.text);
        WEB.iter().map(label).map(name).collect()
    }

    /// As text, without the dot at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Of the name server.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Of the zone itself.
    pub(crate) fn page_addresses(&self) -> &[IpAddr] {
        if self.has_page { &self.addresses } else { &[] }
    }

    /// What a name is to the zone.
    pub(crate) fn place<'a>(&self, name: Name<'a>) -> Place<'a> {
        let wire = name.as_wire();
        let Some(own) = wire.len().checked_sub(self.wire.len()) else { return Place::Elsewhere };
        if !wire[own..].eq_ignore_ascii_case(&self.wire) || !begins_a_label(wire, own) {
            return Place::Elsewhere;
        }
        let mut labels: [&[u8]; 5] = [&[]; 5];
        let (mut count, mut at) = (0, 0);
        for label in name.labels() {
            if at >= own {
                break;
            }
            at += 1 + label.len();
            let Some(place) = labels.get_mut(count) else { return Place::Nothing };
            *place = label;
            count += 1;
        }
        of_labels(&labels[..count])
    }
}

/// Whether a label begins at this byte of a name.
fn begins_a_label(wire: &[u8], at: usize) -> bool {
    let mut next = 0;
    while next < at {
        next += 1 + usize::from(wire[next]);
    }
    next == at
}

fn of_labels<'a>(labels: &[&'a [u8]]) -> Place<'a> {
    let Some((last, before)) = labels.split_last() else { return Place::Apex };
    if let Some(test) = Test::of_label(last) {
        return match before.split_last() {
            None => Place::Empty,
            Some((token, path)) => of_path(test, token, path),
        };
    }
    if !before.is_empty() {
        return Place::Nothing;
    }
    if last.eq_ignore_ascii_case(b"ns") {
        return Place::NameServer;
    }
    let entry = Test::NAMED.into_iter().find(|test| test.entry().eq_ignore_ascii_case(last));
    entry.map_or(Place::Nothing, Place::Entry)
}

fn of_path<'a>(test: Test, token: &'a [u8], path: &[&'a [u8]]) -> Place<'a> {
    let Some((hop, path)) = path.split_last() else {
        return Place::Hop(Hop { test, token, left: 0, path: 0 });
    };
    let known = &PATH[PATH.len() - path.len().min(PATH.len())..];
    let same = path.len() <= PATH.len()
        && path.iter().zip(known).all(|(one, other)| one.eq_ignore_ascii_case(other));
    let left = if let [digit] = hop { digit.wrapping_sub(b'0') } else { 0 };
    if !same || !(1..=test.hops()).contains(&left) {
        return Place::Nothing;
    }
    Place::Hop(Hop { test, token, left, path: path.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn wire(text: &str) -> Vec<u8> {
        let mut wire = Vec::new();
        for label in text.split('.').filter(|label| !label.is_empty()) {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        wire
    }

    #[test]
    fn names_of_the_zone() {
        let zone: Zone = "T.example.net.".parse().unwrap();
        assert_eq!(zone.text(), "t.example.net");
        for (name, expected) in [
            ("t.example.net", Place::Apex),
            ("T.EXAMPLE.net", Place::Apex),
            ("example.net", Place::Elsewhere),
            ("", Place::Elsewhere),
            ("xt.example.net", Place::Elsewhere),
            ("ns.t.example.net", Place::NameServer),
            ("a.ns.t.example.net", Place::Nothing),
            ("www.t.example.net", Place::Nothing),
            ("PortTest.t.example.net", Place::Entry(Test::Ports)),
            ("a.porttest.t.example.net", Place::Nothing),
            ("check.t.example.net", Place::Entry(Test::Json)),
            ("p.t.example.net", Place::Empty),
            ("0.abc.p.t.example.net", Place::Nothing),
            ("t.x.9.abc.p.t.example.net", Place::Nothing),
            ("t.t.c.9.abc.p.t.example.net", Place::Nothing),
            ("10.abc.p.t.example.net", Place::Nothing),
            ("7.abc.w.t.example.net", Place::Nothing),
        ] {
            let wire = wire(name);
            assert_eq!(zone.place(Name::parse(&wire).unwrap()), expected, "{name}");
        }
        let hop = |test, left, path| Place::Hop(Hop { test, token: b"aBc", left, path });
        for (name, expected) in [
            ("aBc.p", hop(Test::Ports, 0, 0)),
            ("9.aBc.p", hop(Test::Ports, 9, 0)),
            ("c.9.aBc.i", hop(Test::Ids, 9, 1)),
            ("T.c.1.aBc.j", hop(Test::Json, 1, 2)),
            ("t.c.6.aBc.w", hop(Test::Web, 6, 2)),
            ("t.C.6.aBc.Z", hop(Test::Web, 6, 2)),
        ] {
            let wire = wire(&format!("{name}.t.example.net"));
            assert_eq!(zone.place(Name::parse(&wire).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_zone_is_said() {
        for text in ["", ".", "a..b", "a b.example", &"a".repeat(64), &"a1.".repeat(70)] {
            let said = text.parse::<Zone>().unwrap_err().to_string();
            assert!(
                said.contains("is no zone that can be served") && !said.contains('\n'),
                "{said}"
            );
        }
    }

    proptest! {
        #[test]
        fn hostile_names_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..260)) {
            let zone: Zone = "t.example.net".parse().unwrap();
            if let Ok(name) = Name::parse(&bytes) {
                zone.place(name);
            }
            let under = [&bytes[..], zone.wire()].concat();
            if let Ok(name) = Name::parse(&under) {
                zone.place(name);
            }
        }
    }
}
