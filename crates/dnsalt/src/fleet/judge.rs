//! Rows of an extract in, one row for each resolver out; Arrow on both sides.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufReader, BufWriter, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context as _, anyhow, ensure};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use dnsalt_audit::event::Address;
use dnsalt_audit::judge::Scratch;
use dnsalt_audit::judgement::{Judged, Limits, Terms, judge};
use dnsalt_audit::state::Collected;

use super::columns::{self, Batch};
use super::verdicts;
use crate::check::report::has_asked;

/// Resolvers in a batch that is written.
const TOGETHER: usize = 256;

/// Judges rows that are grouped by resolver, each by itself.
pub(crate) fn rows(input: impl Read, output: impl Write, terms: Terms) -> anyhow::Result<()> {
    let mut judge = Judge {
        terms,
        collected: Collected::default(),
        scratch: Scratch::default(),
        current: None,
        seen: HashSet::new(),
        hasher: RandomState::new(),
        out: Out::begin(output)?,
    };
    let mut count = 0_u64;
    for batch in reader(input)? {
        let batch = batch.context("standard input")?;
        let columns = Batch::of(&batch)?;
        for at in 0..batch.num_rows() {
            let resolver = columns.resolver(at).with_context(|| format!("row {count}"))?;
            let address = judge.turn_to(resolver).with_context(|| format!("row {count}"))?;
            let place = || format!("row {count}, of {resolver}");
            let row = columns.row(at, address).with_context(place)?;
            judge.collected.add(&row);
            count += 1;
        }
    }
    judge.give_verdict()?;
    judge.out.finish()
}

/// The limits of all resolvers together, of rows that `rows` wrote.
pub(crate) fn limits(input: impl Read) -> anyhow::Result<Limits> {
    let (mut overall, mut servers) = (Vec::new(), Vec::new());
    for batch in reader(input)? {
        let (of_all, of_servers) = verdicts::chances(&batch.context("standard input")?)?;
        overall.extend(of_all);
        servers.extend(of_servers);
    }
    Ok(Limits::of(overall, servers))
}

/// Weighs rows that `rows` wrote once more, by the limits of all of them.
pub(crate) fn control(
    input: impl Read,
    output: impl Write,
    limits: Limits,
    terms: Terms,
) -> anyhow::Result<()> {
    let mut out = Out::begin(output)?;
    for batch in reader(input)? {
        for mut judged in verdicts::judged(&batch.context("standard input")?)? {
            judged.weigh(limits, terms.attacker);
            out.push(judged)?;
        }
    }
    out.finish()
}

fn reader<R: Read>(input: R) -> anyhow::Result<StreamReader<BufReader<R>>> {
    let opened = StreamReader::try_new_buffered(input, None);
    opened.context("standard input is no Arrow IPC stream")
}

/// Verdicts on their way out.
struct Out<W: Write> {
    writer: StreamWriter<BufWriter<W>>,
    waiting: Vec<Judged>,
}

impl<W: Write> Out<W> {
    fn begin(output: W) -> anyhow::Result<Self> {
        let writer = StreamWriter::try_new_buffered(output, &verdicts::schema())?;
        Ok(Out { writer, waiting: Vec::new() })
    }

    fn push(&mut self, judged: Judged) -> anyhow::Result<()> {
        self.waiting.push(judged);
        if self.waiting.len() == TOGETHER { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.writer.write(&verdicts::batch(&self.waiting)?).context("standard output")?;
        self.waiting.clear();
        self.writer.flush().context("standard output")
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if !self.waiting.is_empty() {
            self.write()?;
        }
        self.writer.finish().context("standard output")
    }
}

struct Judge<W: Write> {
    terms: Terms,
    collected: Collected,
    scratch: Scratch,
    /// The resolver whose rows come now, as it is written, and its address.
    current: Option<(String, Address)>,
    /// Hashes of all before it.
    seen: HashSet<u64>,
    hasher: RandomState,
    out: Out<W>,
}

impl<W: Write> Judge<W> {
    /// What the resolver of the next row is; judges the one before, if it is another.
    fn turn_to(&mut self, resolver: &str) -> anyhow::Result<Address> {
        if let Some((name, address)) = &self.current
            && name == resolver
        {
            return Ok(*address);
        }
        self.give_verdict()?;
        let address = columns::parsed(resolver, "resolver")?;
        let new = self.seen.insert(self.hasher.hash_one(address));
        ensure!(new, "rows of {resolver} come in two places: they have to be grouped by resolver");
        self.current = Some((resolver.to_owned(), address));
        Ok(address)
    }

    fn give_verdict(&mut self) -> anyhow::Result<()> {
        let Some((name, _)) = self.current.take() else { return Ok(()) };
        let mut verdict = None;
        let Judge { collected, scratch, terms, .. } = self;
        let all = Limits { overall: f64::INFINITY, servers: f64::INFINITY };
        let judging = AssertUnwindSafe(|| {
            collected.take(|one| {
                if has_asked(one) {
                    let mut judged = judge(one, *terms, scratch);
                    judged.weigh(all, terms.attacker);
                    verdict = Some(judged);
                }
            });
        });
        // Whoever reads of it has many resolvers, and wants to know which one it was.
        catch_unwind(judging).map_err(|_| anyhow!("judging {name} failed: a defect of dnsalt"))?;
        verdict.map_or(Ok(()), |judged| self.out.push(judged))
    }
}
