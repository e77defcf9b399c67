//! What the tests of a series say.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Which half of the salt a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The source port.
    Port,
    /// The query ID.
    Id,
    /// Port and ID together.
    Both,
}

/// Something that a good source of ports and IDs does not show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// A short name that stays the same, such as `fixed-port`.
    pub name: Cow<'static, str>,
    /// What it is about.
    pub subject: Subject,
    /// One sentence for people.
    pub sentence: String,
    /// Why it is believed.
    pub evidence: Evidence,
    /// What is left to guess for who knows it: 1 / (chance of the best guess). None where nobody
    /// has shown how to use it.
    pub choices: Option<f64>,
}

/// Why a finding is believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The probability of such a sample from a good source, with the number of tests accounted for.
    Chance(f64),
    /// Values were predicted.
    Predicted(Predicted),
}

/// Predictions of values that were not used to make them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// How many were made.
    pub made: usize,
    /// How many came true.
    pub right: usize,
    /// The last few of them: predicted, seen.
    pub shown: Vec<(u16, u16)>,
}

/// So many predictions have to come true before a generator is named.
pub const PROOF: usize = 8;

impl Predicted {
    const SHOWN: usize = 8;

    pub(crate) fn note(&mut self, predicted: u16, seen: u16) {
        self.made += 1;
        self.right += usize::from(predicted == seen);
        if self.shown.len() == Self::SHOWN {
            self.shown.remove(0);
        }
        self.shown.push((predicted, seen));
    }

    /// Whether it is proof: enough came true, and hardly one did not.
    pub(crate) fn proves(&self) -> bool {
        self.right >= PROOF && self.right * 10 >= self.made * 9
    }
}

impl Finding {
    /// The probability of the evidence by chance; 0 where values were predicted.
    pub fn chance(&self) -> f64 {
        match &self.evidence {
            Evidence::Chance(p) => *p,
            Evidence::Predicted(_) => 0.0,
        }
    }

    /// Whether the next value is known, or nearly.
    pub fn names_next(&self) -> bool {
        self.choices.is_some_and(|choices| choices < 1.5)
    }
}
