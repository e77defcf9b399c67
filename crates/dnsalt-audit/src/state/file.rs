//! State files: one block for each resolver, self-contained, so that they can be read one by one.
//!
//! ```text
//!   file:  "dnsalt state 1\n" | block ... | length 0 | number of blocks
//!   block: length (4) | CRC-32 (4) | postcard: address, counters, span, servers, samples
//! ```
//!
//! Numbers are little-endian; within a block they are postcard's varints, times as differences.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::State;
use super::counters::Counters;
use super::resolver::Resolver;
use super::sample::Sample;
use crate::event::Address;

const MAGIC: &[u8; 15] = b"dnsalt state 1\n";
/// No block comes near it: 65,536 samples of 30 bytes.
const LARGEST: u32 = 8 << 20;

/// Why a state file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The system said so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else, or of another version.
    #[error("not a state file of this version of dnsalt")]
    NotAState,
    /// It ends early, or its bytes changed.
    #[error("the state file is damaged: {0}")]
    Damaged(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Block {
    address: u128,
    // serde knows arrays of up to 32.
    counters: [u64; Counters::COUNT],
    span: Option<(u64, u64)>,
    servers: Vec<u128>,
    samples: Vec<Row>,
}

/// A sample: time since the one before, server, question, port, ID, delay, letters, upper.
#[derive(Serialize, Deserialize)]
struct Row(u64, u32, u32, u16, u16, u16, u8, u8);

impl Block {
    fn of(resolver: &Resolver, servers: &[Address]) -> Self {
        let mut used: HashMap<u32, u32> = HashMap::new();
        let mut block = Block {
            address: resolver.address.0,
            counters: resolver.counters.values(),
            span: resolver.span,
            servers: Vec::new(),
            samples: Vec::with_capacity(resolver.samples.len()),
        };
        let mut before = 0;
        for s in &resolver.samples {
            let server = *used.entry(s.server).or_insert_with(|| {
                block.servers.push(servers[s.server as usize].0);
                u32::try_from(block.servers.len() - 1).unwrap_or(u32::MAX)
            });
            let since = s.time - before;
            before = s.time;
            block
                .samples
                .push(Row(since, server, s.question, s.port, s.id, s.delay, s.letters, s.upper));
        }
        block
    }

    fn resolver(self) -> Option<(Resolver, Vec<Address>)> {
        let mut time = 0_u64;
        let mut resolver = Resolver::new(Address(self.address));
        resolver.counters = Counters::of_values(self.counters);
        resolver.span = self.span;
        for Row(since, server, question, port, id, delay, letters, upper) in self.samples {
            time = time.checked_add(since)?;
            if server as usize >= self.servers.len() || upper > letters {
                return None;
            }
            resolver.samples.push(Sample {
                time,
                server,
                question,
                port,
                id,
                delay,
                letters,
                upper,
            });
        }
        Some((resolver, self.servers.into_iter().map(Address).collect()))
    }
}

impl State {
    /// Writes the state. Samples are put in order, resolvers in that of their addresses, so that
    /// equal states make equal files.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, mut out: impl Write) -> io::Result<()> {
        self.settle();
        out.write_all(MAGIC)?;
        let mut all: Vec<(&Resolver, &[Address])> = Vec::new();
        for shard in &self.shards {
            all.extend(shard.resolvers().iter().map(|r| (r, shard.servers())));
        }
        all.sort_unstable_by_key(|(resolver, _)| resolver.address);
        for (resolver, servers) in &all {
            let bytes =
                postcard::to_stdvec(&Block::of(resolver, servers)).map_err(io::Error::other)?;
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            out.write_all(&length.to_le_bytes())?;
            out.write_all(&crc32fast::hash(&bytes).to_le_bytes())?;
            out.write_all(&bytes)?;
        }
        out.write_all(&0_u32.to_le_bytes())?;
        out.write_all(&(all.len() as u64).to_le_bytes())?;
        out.flush()
    }

    /// Reads a state file and adds what it knows; nothing is added of a block that is damaged.
    ///
    /// # Errors
    /// When it cannot be read, is no state file, or is damaged. What was good of it before the damage
    /// was added.
    pub fn merge_file(&mut self, mut file: impl Read) -> Result<(), StateError> {
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(|error| ended(error, StateError::NotAState))?;
        if magic != *MAGIC {
            return Err(StateError::NotAState);
        }
        let mut blocks = 0_u64;
        loop {
            let length = u32::from_le_bytes(read(&mut file)?);
            if length == 0 {
                break;
            }
            if length > LARGEST {
                return Err(StateError::Damaged("a block of impossible length"));
            }
            let sum = u32::from_le_bytes(read(&mut file)?);
            let mut bytes = vec![0; length as usize];
            file.read_exact(&mut bytes).map_err(|error| ended(error, CUT))?;
            if crc32fast::hash(&bytes) != sum {
                return Err(StateError::Damaged("a checksum is wrong"));
            }
            let block: Block = postcard::from_bytes(&bytes).map_err(|_| NONSENSE)?;
            let (resolver, servers) = block.resolver().ok_or(NONSENSE)?;
            self.absorb(resolver, &servers);
            blocks += 1;
        }
        if u64::from_le_bytes(read(&mut file)?) != blocks {
            return Err(StateError::Damaged("blocks are missing"));
        }
        Ok(())
    }
}

const CUT: StateError = StateError::Damaged("it ends early");
const NONSENSE: StateError = StateError::Damaged("a block makes no sense");

fn read<const N: usize>(file: &mut impl Read) -> Result<[u8; N], StateError> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).map_err(|error| ended(error, CUT))?;
    Ok(bytes)
}

/// The end of the file is damage, all else is the system's.
fn ended(error: io::Error, at_end: StateError) -> StateError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => at_end,
        _ => StateError::Io(error),
    }
}
