//! Linear algebra over bits: generators whose every output bit is a sum of bits of their state.
//!
//! More output bits than state bits have to satisfy parity checks, whatever the state was. They are
//! worked out once; then a few table lookups tell whether some values come from the generator.

/// Checks that are kept at most: 2^-64 of chance is proof enough.
const MOST_CHECKS: usize = 64;
/// Words of a set of equations.
const WORDS: usize = 6;
/// Equations at most.
const MOST_ROWS: usize = WORDS * 64;

/// Which of the equations a sum is made of.
type Set = [u64; WORDS];

/// A generator with a state of up to 128 bits.
#[derive(Clone, Copy)]
pub(super) struct Generator {
    pub(super) name: &'static str,
    pub(super) who: &'static str,
    /// From one query to the next.
    pub(super) step: fn(u128) -> u128,
    /// Steps between two queries.
    pub(super) stride: usize,
    /// The ID that is shown in a state.
    pub(super) id: fn(u128) -> u16,
    /// The bits of an ID that are sums of state bits, in the lowest places.
    pub(super) linear: fn(u16) -> u16,
    /// How many these are.
    pub(super) bits: usize,
    /// IDs in a row that the checks take.
    pub(super) outputs: usize,
}

impl Generator {
    pub(super) fn advance(&self, mut state: u128) -> u128 {
        for _ in 0..self.stride {
            state = (self.step)(state);
        }
        state
    }

    /// For each output bit in a row the state bits that it is the sum of.
    fn rows(&self) -> Vec<u128> {
        let mut rows = vec![0_u128; (self.outputs * self.bits).min(MOST_ROWS)];
        for state_bit in 0..128 {
            let mut state = 1_u128 << state_bit;
            for output in rows.chunks_mut(self.bits) {
                let shown = (self.linear)((self.id)(state));
                for (bit, row) in output.iter_mut().enumerate() {
                    *row |= u128::from(shown >> bit & 1) << state_bit;
                }
                state = self.advance(state);
            }
        }
        rows
    }
}

/// The parity checks of a generator, as tables.
pub(super) struct Code {
    pub(super) generator: Generator,
    /// For each output and each four bits of it, what they add to the checks.
    tables: Vec<[[u64; 16]; 4]>,
    /// The checks that are complete after so many outputs.
    complete: Vec<u64>,
    #[cfg(test)]
    pub(super) checks: u32,
    rows: Vec<u128>,
}

impl Code {
    pub(super) fn new(generator: Generator) -> Self {
        let rows = generator.rows();
        let mut tables = vec![[[0_u64; 16]; 4]; generator.outputs];
        let mut complete = vec![0_u64; generator.outputs];
        let checks = dependencies(&rows);
        for (check, set) in checks.iter().enumerate() {
            let mut last = 0;
            for row in (0..rows.len()).filter(|row| set[row / 64] >> (row % 64) & 1 == 1) {
                let (output, bit) = (row / generator.bits, row % generator.bits);
                last = output;
                for (value, entry) in tables[output][bit / 4].iter_mut().enumerate() {
                    *entry ^= (value as u64 >> (bit % 4) & 1) << check;
                }
            }
            for mask in &mut complete[last..] {
                *mask |= 1 << check;
            }
        }
        Code {
            generator,
            tables,
            complete,
            #[cfg(test)]
            checks: checks.len() as u32,
            rows,
        }
    }

    /// What one ID adds to the checks, as the `output`th in a row.
    pub(super) fn add(&self, output: usize, id: u16) -> u64 {
        let shown = (self.generator.linear)(id);
        let table = &self.tables[output];
        (0..4).fold(0, |sum, part| sum ^ table[part][usize::from(shown >> (4 * part) & 15)])
    }

    /// Whether a sum can still be right after the `output`th ID.
    pub(super) fn possible(&self, output: usize, sum: u64) -> bool {
        sum & self.complete[output] == 0
    }

    /// Whether IDs in a row come from the generator.
    pub(super) fn fits(&self, ids: &[u16]) -> bool {
        let mut sum = 0;
        for (output, id) in ids.iter().enumerate() {
            sum ^= self.add(output, *id);
            if !self.possible(output, sum) {
                return false;
            }
        }
        true
    }

    /// The state that shows these IDs in a row, of which [`Code::fits`] is true. Bits that no output
    /// depends on are 0.
    pub(super) fn state(&self, ids: &[u16]) -> u128 {
        let mut equations = Vec::with_capacity(self.rows.len());
        for (row, equation) in self.rows.iter().enumerate() {
            let (output, bit) = (row / self.generator.bits, row % self.generator.bits);
            let shown = (self.generator.linear)(ids[output]);
            equations.push((*equation, shown >> bit & 1 == 1));
        }
        solve(&mut equations)
    }
}

/// Sets of rows that add up to nothing.
fn dependencies(rows: &[u128]) -> Vec<Set> {
    let mut basis: Vec<(u128, Set)> = Vec::new();
    let mut found = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let (mut rest, mut set) = (*row, [0; WORDS]);
        set[i / 64] |= 1 << (i % 64);
        for (vector, made_of) in &basis {
            // Each vector of the basis has a highest bit, of which the later ones are free.
            if rest >> (127 - vector.leading_zeros()) & 1 == 1 {
                rest ^= vector;
                for (word, other) in set.iter_mut().zip(made_of) {
                    *word ^= other;
                }
            }
        }
        if rest != 0 {
            basis.push((rest, set));
        } else if found.len() < MOST_CHECKS {
            found.push(set);
        }
    }
    found
}

/// A solution by elimination.
fn solve(equations: &mut [(u128, bool)]) -> u128 {
    let mut done = 0;
    let mut pivots = Vec::new();
    for bit in (0..128).rev() {
        let Some(at) = (done..equations.len()).find(|i| equations[*i].0 >> bit & 1 == 1) else {
            continue;
        };
        equations.swap(done, at);
        let (row, value) = equations[done];
        for (i, equation) in equations.iter_mut().enumerate() {
            if i != done && equation.0 >> bit & 1 == 1 {
                *equation = (equation.0 ^ row, equation.1 ^ value);
            }
        }
        pivots.push(bit);
        done += 1;
    }
    pivots
        .iter()
        .zip(equations.iter())
        .fold(0, |state, (bit, (_, value))| state | u128::from(*value) << bit)
}
