//! Running programs side by side and taking the time.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;

use crate::step::Step;

/// A program to measure.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// What has to be installed.
    pub(crate) program: &'static str,
    /// The command for the shell.
    pub(crate) line: String,
    /// Runs once, and only if it is asked for.
    pub(crate) slow: bool,
}

/// How long one took, in seconds.
pub(crate) struct Result {
    pub(crate) name: &'static str,
    pub(crate) median: Option<f64>,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Why it was not measured.
    pub(crate) why: Option<String>,
}

/// Measures all of them in turns.
pub(crate) fn measure(
    contestants: &[Contestant],
    rounds: usize,
    slow: bool,
) -> anyhow::Result<Vec<Result>> {
    let there: Vec<bool> = contestants
        .iter()
        .map(|one| Step::program("sh", &["-c", &format!("command -v {}", one.program)]).works())
        .collect();
    let mut times = vec![Vec::new(); contestants.len()];
    // The first round warms the caches and does not count.
    for round in 0..=rounds {
        for ((one, there), times) in contestants.iter().zip(&there).zip(&mut times) {
            if !there || (one.slow && (!slow || round != 1)) {
                continue;
            }
            let seconds = run(&one.line)?;
            if round > 0 {
                times.push(seconds);
            }
        }
        eprintln!("round {round} of {rounds}");
    }
    let result = |((one, there), mut times): ((&Contestant, &bool), Vec<f64>)| {
        times.sort_unstable_by(f64::total_cmp);
        let why = match (there, times.is_empty()) {
            (false, _) => Some(format!("{} is not installed", one.program)),
            (true, true) => Some("slow; measured with --all".to_owned()),
            _ => None,
        };
        let (least, most) = (times.first().copied(), times.last().copied());
        Result {
            name: one.name,
            median: median(&times),
            least: least.unwrap_or(0.0),
            most: most.unwrap_or(0.0),
            why,
        }
    };
    Ok(contestants.iter().zip(&there).zip(times).map(result).collect())
}

fn run(line: &str) -> anyhow::Result<f64> {
    let start = Instant::now();
    let status = Command::new("sh")
        .args(["-c", line])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let seconds = start.elapsed().as_secs_f64();
    // check ends with 1 where it finds somebody weak.
    ensure!(status.code().is_some_and(|code| code <= 1), "`{line}` ended with {status}");
    Ok(seconds)
}

/// Of times in order.
pub(crate) fn median(times: &[f64]) -> Option<f64> {
    let middle = times.len() / 2;
    match times.len() {
        0 => None,
        n if n % 2 == 1 => Some(times[middle]),
        _ => Some(f64::midpoint(times[middle - 1], times[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }
}
