//! The columns of what was judged: one row for each resolver.

use std::sync::Arc;

use anyhow::Context as _;
use arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use dnsalt_audit::judgement::Judged;

use super::typed::Columns;

/// The least chance of what statistics found over all servers; null with too few queries.
const CHANCE: &str = "chance";
/// The same as each of the servers with the most queries sees it.
const SERVER_CHANCES: &str = "server_chances";
/// All that `check --json` has of the resolver.
const JUDGEMENT: &str = "judgement";

/// What a column has of a resolver.
enum Column {
    Word(fn(&Judged) -> String),
    Count(fn(&Judged) -> Option<u64>),
    Number(fn(&Judged) -> Option<f64>),
    Words(fn(&Judged) -> Vec<String>),
    Numbers(fn(&Judged) -> Vec<f64>),
}

use Column::{Count, Number, Numbers, Word, Words};

/// Every column, in order. Those that `check --csv` has too have the same names.
const COLUMNS: [(&str, Column); 33] = [
    ("resolver", Word(|j| j.address.to_string())),
    ("verdict", Word(|j| j.worst().word().to_owned())),
    ("t50_seconds", Number(|j| j.overall.t50)),
    ("bits", Number(|j| known(j, j.overall.target.bits()))),
    ("ports", Number(|j| known(j, j.overall.target.ports))),
    ("ids", Number(|j| known(j, j.overall.target.ids))),
    ("case_bits", Number(|j| Some(j.overall.target.case_bits))),
    ("cookie_bits", Number(|j| Some(j.overall.target.cookie_bits))),
    ("identical", Number(|j| Some(j.overall.target.identical))),
    ("queries", Count(|j| Some(j.counters.queries))),
    ("sample", Count(|j| Some(j.overall.sample as u64))),
    ("retransmissions", Count(|j| Some(j.counters.retransmissions))),
    ("answered", Count(|j| Some(j.counters.answered))),
    ("tcp_queries", Count(|j| Some(j.counters.tcp_queries))),
    ("distinct_ports", Count(|j| Some(j.overall.ports.distinct as u64))),
    ("lowest_port", Count(|j| Some(j.overall.ports.lowest.into()))),
    ("highest_port", Count(|j| Some(j.overall.ports.highest.into()))),
    ("port_deviation", Number(|j| Some(j.overall.ports.deviation))),
    ("oarc_grade", Word(|j| j.overall.oarc.to_string())),
    ("wrong_id", Count(|j| Some(j.counters.wrong_id))),
    ("wrong_question", Count(|j| Some(j.counters.wrong_question))),
    ("wrong_server", Count(|j| Some(j.counters.wrong_server))),
    ("wrong_port", Count(|j| Some(j.counters.wrong_port))),
    ("findings", Words(|j| j.overall.findings.iter().map(|f| f.name.to_string()).collect())),
    ("reason", Word(|j| j.overall.reason.clone())),
    ("advice", Word(|j| j.overall.advice.to_string())),
    ("more_queries", Count(|j| Some(j.overall.more as u64))),
    ("servers_judged", Count(|j| Some(j.servers.len() as u64))),
    ("first_ns", Count(|j| j.span.map(|span| span.0))),
    ("last_ns", Count(|j| j.span.map(|span| span.1))),
    (CHANCE, Number(|j| j.chances().0)),
    (SERVER_CHANCES, Numbers(|j| j.chances().1)),
    // What cannot be written as JSON is none of it.
    (JUDGEMENT, Word(|j| serde_json::to_string(j).unwrap_or_default())),
];

/// Without a verdict there is no number either.
fn known(judged: &Judged, number: f64) -> Option<f64> {
    judged.overall.t50.map(|_| number)
}

pub(crate) fn schema() -> SchemaRef {
    let list = |of: DataType| DataType::List(Arc::new(Field::new_list_field(of, true)));
    let field = |(name, column): &(&str, Column)| {
        let (kind, nullable) = match column {
            Word(_) => (DataType::Utf8, false),
            Count(_) => (DataType::Int64, true),
            Number(_) => (DataType::Float64, true),
            Words(_) => (list(DataType::Utf8), false),
            Numbers(_) => (list(DataType::Float64), false),
        };
        Field::new(*name, kind, nullable)
    };
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

/// Rows of these resolvers.
pub(crate) fn batch(judged: &[Judged]) -> Result<RecordBatch, ArrowError> {
    let array = |(_, column): &(&str, Column)| -> ArrayRef {
        match column {
            Word(get) => Arc::new(StringArray::from_iter_values(judged.iter().map(get))),
            Count(get) => {
                let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
                Arc::new(judged.iter().map(|j| get(j).map(signed)).collect::<Int64Array>())
            }
            Number(get) => Arc::new(judged.iter().map(get).collect::<Float64Array>()),
            Words(get) => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for j in judged {
                    lists.append_value(get(j).into_iter().map(Some));
                }
                Arc::new(lists.finish())
            }
            Numbers(get) => {
                let mut lists = ListBuilder::new(Float64Builder::new());
                for j in judged {
                    lists.append_value(get(j).into_iter().map(Some));
                }
                Arc::new(lists.finish())
            }
        }
    };
    RecordBatch::try_new(schema(), COLUMNS.iter().map(array).collect())
}

/// The chances in such rows: over all servers, and of single ones.
pub(crate) fn chances(batch: &RecordBatch) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let column = |name: &str| {
        batch.column_by_name(name).with_context(|| format!("column {name} is missing"))
    };
    let wrong = |name: &str| format!("column {name} is of another type");
    let of_all =
        column(CHANCE)?.as_primitive_opt::<Float64Type>().with_context(|| wrong(CHANCE))?;
    let lists: &ListArray =
        column(SERVER_CHANCES)?.as_list_opt().with_context(|| wrong(SERVER_CHANCES))?;
    let mut of_servers = Vec::new();
    for list in lists.iter().flatten() {
        let list = list.as_primitive_opt::<Float64Type>().with_context(|| wrong(SERVER_CHANCES))?;
        of_servers.extend(list.iter().flatten());
    }
    Ok((of_all.iter().flatten().collect(), of_servers))
}

/// The resolvers of such rows, as they were judged.
pub(crate) fn judged(batch: &RecordBatch) -> anyhow::Result<Vec<Judged>> {
    let column = Columns(batch).strings(JUDGEMENT)?;
    let parsed = |at| {
        let parsed: Result<Judged, _> = serde_json::from_str(column.need(at)?);
        parsed.with_context(|| format!("column {JUDGEMENT} in row {at}"))
    };
    (0..batch.num_rows()).map(parsed).collect()
}
