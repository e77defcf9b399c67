//! What the `salt` engine is told beyond which queries and which ports.

use std::fmt;
use std::str::FromStr;

use crate::{CaseExempt, PolicyError, Prefix};

/// The options of the engine, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaltOptions {
    /// Seconds that a query waits for its reply.
    pub lifetime: u8,
    /// Identical queries outstanding at a time, at most; 0 for any number.
    pub max_identical: u8,
    /// What becomes of a query for which there is no room.
    pub on_full: OnFull,
    /// What becomes of a query after a near miss.
    pub on_near_miss: OnNearMiss,
    /// Near misses of a server within a second that begin a lockdown; 0 for never.
    pub lockdown_after: u16,
    /// Replies of a server within a second that no query waits for; more of them begin a lockdown; 0 for
    /// never.
    pub lockdown_unsolicited: u32,
    /// What becomes of replies in fragments.
    pub fragments: Fragments,
    /// Clients that cannot do TCP, and are never sent there.
    pub no_tcp: Vec<Prefix>,
    /// Whether the letters of names get another case.
    pub case: Case,
    /// Servers and names of whom they do not.
    pub case_exempt: Vec<CaseExempt>,
    /// Whether queries get DNS cookies.
    pub cookies: Cookies,
    /// Whether conntrack sees salted queries.
    pub conntrack: Conntrack,
}

impl Default for SaltOptions {
    fn default() -> Self {
        SaltOptions {
            lifetime: 5,
            max_identical: 4,
            on_full: OnFull::Pass,
            on_near_miss: OnNearMiss::Tcp,
            lockdown_after: 64,
            lockdown_unsolicited: 1000,
            fragments: Fragments::Pass,
            no_tcp: Vec::new(),
            case: Case::Learn,
            case_exempt: Vec::new(),
            cookies: Cookies::Off,
            conntrack: Conntrack::On,
        }
    }
}

/// The most that [`SaltOptions::max_identical`] can be: so many places the engine has for a question.
pub(crate) const MOST_IDENTICAL: u8 = 7;
/// The most that [`SaltOptions::lockdown_unsolicited`] can be: no wire of today's carries so many.
pub(crate) const MOST_UNSOLICITED: u32 = 1_000_000_000;
/// The longest [`SaltOptions::lifetime`].
pub(crate) const LONGEST_LIFETIME: u8 = 60;

/// A choice between words, the first of them the default.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $key:literal, $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl FromStr for $name {
            type Err = PolicyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(PolicyError::Choice {
                        key: $key,
                        given: text.to_owned(),
                        words: &[$($word),+],
                    }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($name::$variant => $word),+
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

choice! {
    /// What becomes of a query for which there is no room.
    OnFull, "on-full",
    /// It leaves as it is, unprotected.
    Pass = "pass",
    /// It does not leave.
    Drop = "drop"
}

choice! {
    /// What becomes of a query after a near miss.
    OnNearMiss, "on-near-miss",
    /// Its client is sent to TCP: nothing that UDP brings is believed.
    Tcp = "tcp",
    /// Only the near miss is dropped; whoever has found the port may go on guessing.
    Drop = "drop"
}

choice! {
    /// What becomes of replies in fragments.
    Fragments, "fragments",
    /// They pass: the first shows what it is, the others are its rest.
    Pass = "pass",
    /// Their client is sent to TCP, and the rest is dropped.
    Drop = "drop"
}

choice! {
    /// Whether queries get a DNS cookie (RFC 7873) where their client sends none.
    Cookies, "cookies",
    /// They do not.
    Off = "off",
    /// They do; of servers that have shown that they have cookies no reply without one is believed.
    On = "on"
}

choice! {
    /// Whether conntrack sees queries that are salted, and their replies.
    Conntrack, "conntrack",
    /// It does, and the NAT and the filters of this machine go by it.
    On = "on",
    /// It does not: no entry is made for them.
    Off = "off"
}

choice! {
    /// Whether the letters of names get another case, at random for each query.
    Case, "case",
    /// They do, but for servers that were found not to keep it.
    Learn = "learn",
    /// They do, always.
    On = "on",
    /// They do not.
    Off = "off"
}
