//! The live view: what is installed, how it does, and what is on the wire.
//!
//! ```text
//!   source ──samples──▶ model ──▶ draw ──▶ screen        commands/watch.rs turns the crank
//!   (threads)           (pure)    (pure)   (terminal)
//!                         ▲
//!                 keys ─ view: what of it is shown
//!
//!   dnsalt  ● Protected                                  gateway   12:00:41 UTC
//!   engine     salt, by tcx, for 2 h 13 min
//!   bits       32.0 now, 32.0 at worst; after one near miss only over TCP
//!   queries        1,204 /s   ▂▂▃▃▄▄▅▅▅▆▆▇▇▇██▇▇▆▆▅▅▄▄▃▃▂▂▂     peak     1,380
//!   forged             0 /s                                     peak         0
//!   ─ 1 Ports and IDs ── 2 Clients and servers ── 3 Forged replies ────────────
//!   65,535 ┤⠂⠄⠐⠈⠐⢀⠠⠐⠈⠄⠂⡀⠁⠂⠄⠐⠈⠐⢀⠠⠐⠈⠄     65,535 ┤⠐⠈⠐⢀⠠⠐⠈⠄⠂⡀⠁⠂⠄⠂⠄⠐⠈⠐⢀⠠⠐
//!   q quit   space pause   tab 1-3 pane   r reset peaks   ? help
//! ```
//!
//! Everything that comes from packets is of bounded size, whoever sends whatever: lists of addresses
//! have a fixed number of places ([`top`]), queries that wait are kept up to a number ([`waiting`]),
//! rates go back ten minutes ([`history`]).
//!
//! The kernel half's ring of events is left alone: each event can be read once, and an agent may want
//! it. Near misses by server are told from the wire instead.

mod clients;
mod draw;
mod history;
mod keys;
mod merge;
mod model;
mod sample;
mod screen;
mod source;
mod top;
mod traffic;
mod view;
mod waiting;

pub(crate) use draw::{Theme, draw, is_roomy};
pub(crate) use model::Model;
pub(crate) use sample::{Bits, Protection, Room};
pub(crate) use screen::Screen;
pub(crate) use source::{Source, Wanted};
pub(crate) use view::{Next, View};
