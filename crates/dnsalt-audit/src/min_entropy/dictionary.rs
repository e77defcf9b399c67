//! A dictionary of strings of up to 16 symbols and what followed them (section 6.3.10, after LZ78).

use std::collections::HashMap;

use super::markov::Followers;
use super::prediction::Score;

const LONGEST: usize = 16;
/// Strings that the dictionary may hold.
const MOST: usize = 65_536;

pub(super) fn estimate(symbols: &[u16]) -> Option<f64> {
    let mut dictionary: HashMap<&[u16], Followers> = HashMap::new();
    let mut score = Score::default();
    for i in LONGEST + 1..symbols.len() {
        let last = symbols[i - 1];
        for length in (1..=LONGEST).rev() {
            let string = &symbols[i - 1 - length..i - 1];
            if dictionary.len() < MOST || dictionary.contains_key(string) {
                dictionary.entry(string).or_default().add(last);
            }
        }
        let mut best: Option<(u32, u16)> = None;
        for length in (1..=LONGEST).rev() {
            let found = dictionary.get(&symbols[i - length..i]).and_then(Followers::best);
            if let Some((count, symbol)) = found
                && best.is_none_or(|(most, _)| count > most)
            {
                best = Some((count, symbol));
            }
        }
        score.note(best.map(|(_, symbol)| symbol) == Some(symbols[i]));
    }
    score.probability()
}
