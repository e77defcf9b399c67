//! What a source tells the model.

use dnsalt_audit::event::Event;

/// One thing that the model is told.
#[derive(Clone, Debug)]
pub(crate) enum Sample {
    /// Packets, in their order on one interface.
    Packets(Vec<Seen>),
    /// So many more packets were lost, as we did not read fast enough.
    Missed(u64),
    /// An interface cannot be watched, and why; none when it is watched again.
    Interface(String, Option<String>),
    /// What is installed; or why that cannot be told.
    Protection(Result<Box<Protection>, String>),
}

/// A DNS packet on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) event: Event,
    /// Whether it left by the interface; else it came in.
    pub(crate) outgoing: bool,
}

/// What is installed, and what it counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Protection {
    /// All is in the kernel, whole and unchanged.
    pub(crate) whole: bool,
    /// What is wrong, in words, with what to do.
    pub(crate) problems: Vec<String>,
    /// `salt` or `nat`; none if nothing is installed.
    pub(crate) engine: Option<&'static str>,
    /// What the engine works by.
    pub(crate) backend: Option<String>,
    /// Seconds since 1970.
    pub(crate) since: Option<u64>,
    /// Seconds since 1970: when an unconfirmed `up` is undone.
    pub(crate) undone_at: Option<u64>,
    /// What is salted, in words.
    pub(crate) scope: Option<String>,
    /// What the machine could not take of the rules.
    pub(crate) lacks: Option<String>,
    pub(crate) bits: Option<Bits>,
    /// What the engine dropped, by what it was.
    pub(crate) dropped: Vec<(u64, &'static str)>,
    /// Lockdowns that began, of an engine that has them.
    pub(crate) lockdowns: Option<u64>,
    /// Queries that left without salt.
    pub(crate) unsalted: u64,
    pub(crate) room: Option<Room>,
    /// Seconds that a query waits for its reply, if the engine says so.
    pub(crate) lifetime: Option<u64>,
}

/// What a forged reply has to guess, in bits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bits {
    pub(crate) now: f64,
    pub(crate) worst: f64,
    /// What goes with it, in words.
    pub(crate) note: &'static str,
}

/// What can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Places for queries that wait; how many are taken, the wire tells.
    Slots(u64),
    /// Entries of conntrack, and the most there can be.
    Conntrack { entries: u64, max: u64 },
}
