//! Beyond one machine: packets as columns, and verdicts of columns.
//!
//! ```text
//!   captures ──extract──▶ Parquet ── Spark, or whatever groups rows by resolver ──▶ Arrow ──judge──▶ Arrow
//! ```
//!
//! What the columns are called, and what is in them: `columns` for rows, `verdicts` for what is judged.

pub(crate) mod columns;
pub(crate) mod extract;
pub(crate) mod judge;
mod parts;
mod typed;
pub(crate) mod verdicts;
