//! A port test of one's own: an authoritative name server for one zone, which judges whoever resolves through it.
//!
//! ```text
//!   query ──> udp, tcp ──> answer ──┬─ zone      which name is it?
//!                            │      ├─ token     is it one that was given out?
//!                            │      ├─ sessions  who asked, from which ports, with which IDs
//!                            │      └─ limit, cookie, reply: what may be sent back
//!                            └─ judgement ──> TXT, or the page
//! ```
//!
//! Nothing is believed that was not given out: a name under the zone opens a session only if it carries a
//! token of ours, which nobody has who forges the address that it is sent to.
#![allow(clippy::cast_possible_truncation)]

mod accept;
mod answer;
mod cookie;
mod judgement;
mod limit;
mod privileges;
mod query;
mod reply;
mod server;
mod session;
mod sessions;
mod stats;
mod tcp;
mod text;
mod token;
mod udp;
mod web;
mod zone;

#[doc(hidden)]
pub use answer::Bare;

pub use privileges::{Dropped, User};
pub use server::{Numbers, Options, Running, ServeError, Server};
pub use stats::Count;
pub use web::Web;
pub use zone::{Zone, ZoneError};
