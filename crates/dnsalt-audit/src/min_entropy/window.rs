//! The most common value in the last 63, 255, 1023 or 4095 (section 6.3.7).

use super::prediction::Board;

const WINDOWS: [usize; 4] = [63, 255, 1023, 4095];

pub(super) fn estimate(symbols: &[u16]) -> Option<f64> {
    let mut board = Board::new();
    let mut windows = WINDOWS.map(Window::new);
    for (i, symbol) in symbols.iter().enumerate() {
        if i >= WINDOWS[0] {
            board.note(windows.each_ref().map(|window| window.predicts(i)), *symbol);
        }
        for window in &mut windows {
            window.take(symbols, i);
        }
    }
    board.probability()
}

/// The last so many symbols, counted.
struct Window {
    size: usize,
    counts: Vec<u32>,
    commonest: u16,
}

impl Window {
    fn new(size: usize) -> Self {
        Window { size, counts: vec![0; 1 << 16], commonest: 0 }
    }

    /// The commonest of a full window, of several the one that came last.
    fn predicts(&self, i: usize) -> Option<u16> {
        (i >= self.size).then_some(self.commonest)
    }

    fn count(&self, symbol: u16) -> u32 {
        self.counts[usize::from(symbol)]
    }

    fn take(&mut self, symbols: &[u16], i: usize) {
        let new = symbols[i];
        let gone = i.checked_sub(self.size).map(|at| symbols[at]);
        self.counts[usize::from(new)] += 1;
        if self.count(new) >= self.count(self.commonest) {
            self.commonest = new;
        }
        if let Some(gone) = gone {
            self.counts[usize::from(gone)] -= 1;
            if gone == self.commonest {
                for symbol in &symbols[i + 1 - self.size..=i] {
                    if self.count(*symbol) >= self.count(self.commonest) {
                        self.commonest = *symbol;
                    }
                }
            }
        }
    }
}
