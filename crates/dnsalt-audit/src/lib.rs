//! The judge: how predictable are the DNS queries of a resolver to somebody who cannot see them?
//!
//! It knows no packets, only what they showed: times, addresses, ports, query IDs.
//!
//! ```text
//!   event ──> state::State ──┬── counters over everything
//!             (merges, files)└── the earliest queries: series
//!                                    │
//!              judge: tests that give a chance       predict: generators that are named
//!                                    └───────┬───────────┘
//!              judgement: what it is worth together, for whom (attack), in words
//! ```
// Cutting numbers down is what generators and hashes do.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod attack;
pub mod event;
pub mod finding;
pub mod judge;
pub mod judgement;
mod last;
pub mod min_entropy;
pub mod predict;
pub mod series;
pub mod state;
mod tail;
mod traits;
mod words;

pub use words::{capital, grouped, oarc, time};
