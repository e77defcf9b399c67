//! What ports, IDs and questions have to do with each other.

use super::{Findings, SEQUENCE};
use crate::finding::Subject;
use crate::last::Last;
use crate::series::Series;
use crate::tail::{binomial_above, poisson_above};

pub(super) fn run(series: &Series, width: f64, last: &mut Last, findings: &mut Findings) {
    let n = series.len().min(SEQUENCE);
    let (ports, ids) = (&series.ports[..n], &series.ids[..n]);
    let constant = |values: &[u16]| values.iter().all(|v| *v == values[0]);
    if constant(ports) || constant(ids) {
        return;
    }
    id_of_port(ports, ids, findings);
    tuples(ports, ids, width, findings);
    by_question(&series.questions[..n], ids, last, findings);
}

/// An ID that is the port, or lies at a constant distance from it.
fn id_of_port(ports: &[u16], ids: &[u16], findings: &mut Findings) {
    let differences: Vec<u16> = ports.iter().zip(ids).map(|(p, id)| id.wrapping_sub(*p)).collect();
    let hits = differences.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let still = ids.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let chance = binomial_above(hits.saturating_sub(still), ids.len() - 1, 1.0 / 65_536.0);
    let choices = ids.len() as f64 / hits.max(1) as f64;
    findings.chance("id-follows-port", Subject::Id, chance, Some(choices), || {
        "the query ID follows from the port".to_owned()
    });
}

/// The same pair of port and ID again and again.
fn tuples(ports: &[u16], ids: &[u16], width: f64, findings: &mut Findings) {
    let mut pairs: Vec<u32> =
        ports.iter().zip(ids).map(|(p, id)| u32::from(*p) << 16 | u32::from(*id)).collect();
    pairs.sort_unstable();
    let equal = pairs.windows(2).filter(|two| two[0] == two[1]).count();
    let n = pairs.len() as f64;
    let expected = n * n / 2.0 / 65_536.0 / width.max(1.0);
    // One pair may be a retransmission that came too late to be told.
    if equal < 2 + pairs.len() / 100 || findings.list.iter().any(|f| f.choices.is_some()) {
        return;
    }
    let chance = poisson_above(equal as f64, expected);
    findings.chance("repeated-pairs", Subject::Both, chance, None, || {
        "the same pairs of port and query ID come again and again".to_owned()
    });
}

/// An ID that is always the same for the same question.
fn by_question(questions: &[u32], ids: &[u16], last: &mut Last, findings: &mut Findings) {
    last.begin(questions.len());
    let (mut again, mut same) = (0, 0);
    for (i, question) in questions.iter().enumerate() {
        if let Some(before) = last.replace(u64::from(*question), i) {
            again += 1;
            same += usize::from(ids[before] == ids[i]);
        }
    }
    let share = same as f64 / f64::from(again).max(1.0);
    if share < 0.5 || again < 8 {
        return;
    }
    let chance = binomial_above(same, again as usize, 1.0 / 65_536.0);
    findings.chance("id-of-question", Subject::Id, chance, Some(1.0 / share), || {
        format!(
            "the same question has the same query ID again ({:.0} % of the time)",
            share * 100.0
        )
    });
}
