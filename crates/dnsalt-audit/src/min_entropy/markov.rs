//! Markov models of order 1 to 16 that count what followed what (section 6.3.9).

use std::collections::HashMap;

use super::prediction::Board;

const ORDERS: usize = 16;
/// Entries that each model may have.
const MOST: usize = 100_000;

/// What followed some symbols, and how often.
#[derive(Debug, Default)]
pub(super) struct Followers {
    counts: HashMap<u16, u32>,
    best: Option<(u32, u16)>,
}

impl Followers {
    /// Whether this one was seen.
    pub(super) fn has(&self, symbol: u16) -> bool {
        self.counts.contains_key(&symbol)
    }

    pub(super) fn add(&mut self, symbol: u16) {
        let count = self.counts.entry(symbol).or_default();
        *count += 1;
        // Of several that are as common, the highest symbol.
        self.best = self.best.max(Some((*count, symbol)));
    }

    /// How often the commonest was seen, and which it is.
    pub(super) fn best(&self) -> Option<(u32, u16)> {
        self.best
    }
}

pub(super) fn estimate(symbols: &[u16]) -> Option<f64> {
    let mut models: [HashMap<&[u16], Followers>; ORDERS] = std::array::from_fn(|_| HashMap::new());
    let mut entries = [0_usize; ORDERS];
    let mut board = Board::<ORDERS>::new();
    for i in 2..symbols.len() {
        for (d, model) in models.iter_mut().enumerate().take(i - 1) {
            let (before, last) = (&symbols[i - d - 2..i - 1], symbols[i - 1]);
            let known = model.get(before).is_some_and(|followers| followers.has(last));
            if known || entries[d] < MOST {
                entries[d] += usize::from(!known);
                model.entry(before).or_default().add(last);
            }
        }
        let predict = |d: usize| {
            let before = symbols.get(i.checked_sub(d + 1)?..i)?;
            models[d].get(before)?.best().map(|(_, symbol)| symbol)
        };
        board.note(std::array::from_fn(predict), symbols[i]);
    }
    board.probability()
}
