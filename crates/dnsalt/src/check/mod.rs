//! `check`: packets in, report out.
//!
//! ```text
//!   read, live ──> packet ──> dnsalt-audit's state ──> report ──> text, json, html, csv
//! ```

pub(crate) mod across;
pub(crate) mod csv;
pub(crate) mod html;
pub(crate) mod live;
pub(crate) mod packet;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod text;
