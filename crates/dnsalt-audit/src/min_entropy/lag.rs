//! The value that came 1 to 128 symbols before (section 6.3.8).

use super::prediction::Board;

const LAGS: usize = 128;

pub(super) fn estimate(symbols: &[u16]) -> Option<f64> {
    let mut board = Board::<LAGS>::new();
    for (i, symbol) in symbols.iter().enumerate().skip(1) {
        let before = |lag: usize| i.checked_sub(lag + 1).map(|at| symbols[at]);
        board.note(std::array::from_fn(before), *symbol);
    }
    board.probability()
}
