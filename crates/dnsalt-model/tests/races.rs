//! Two processors at the same slots: nothing passes twice, nobody gets what is another's, and in the end the
//! counters add up.

mod common;

use std::collections::HashSet;
use std::sync::Barrier;

use common::{dns, packet};
use dnsalt_bpf::{Runner, Trial, Way};
use dnsalt_lab::require_root;
use dnsalt_model::{DROP, PASS, policies};
use dnsalt_salt::layout::Counter;
use rustix::thread::CpuSet;

const ROUNDS: usize = 20_000;

/// A query.
fn query(n: usize, client: u8) -> Vec<u8> {
    let id = u16::try_from(n % 65_536).unwrap().to_be_bytes();
    let name = format!("{n:06}");
    let dns =
        [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6], name.as_bytes(), &[0, 0, 1, 0, 1]].concat();
    packet([10, 0, 1, client], [10, 0, 53, 1], [40_000, 53], &dns)
}

/// The right reply to a query as it left.
fn reply(left: &[u8], client: u8) -> Vec<u8> {
    let asked = dns(left);
    let mut message = left[asked.message..].to_vec();
    message[2] |= 0x80;
    packet([10, 0, 53, 1], [10, 0, 1, client], [53, asked.src_port], &message)
}

fn trial() -> Option<Trial> {
    if let Err(why) = require_root() {
        eprintln!("skipped: {why}");
        return None;
    }
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        eprintln!("skipped: one processor alone cannot race");
        return None;
    }
    Some(Trial::new(&policies::policy(0, policies::LONG)).unwrap())
}

/// Runs two threads, each on a processor of its own, and gives what they give.
fn both<T: Send>(work: impl Fn(usize) -> T + Sync) -> [T; 2] {
    let work = &work;
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|n| {
            scope.spawn(move || {
                let mut own = CpuSet::new();
                own.set(n);
                rustix::thread::sched_setaffinity(None, &own).unwrap();
                work(n)
            })
        });
        threads.map(|thread| thread.join().unwrap())
    })
}

fn runners(trial: &mut Trial) -> (Runner, Runner) {
    (trial.runner(Way::Out).unwrap(), trial.runner(Way::In).unwrap())
}

#[test]
fn a_reply_that_comes_twice_at_once_is_let_in_once() {
    let Some(mut trial) = trial() else { return };
    let (out, inward) = runners(&mut trial);
    let replies: Vec<Vec<u8>> =
        (0..ROUNDS).map(|n| reply(&out.run(&query(n, 1)).unwrap().packet, 1)).collect();
    let barrier = Barrier::new(2);
    let passed = both(|_| {
        let once = |reply: &Vec<u8>| {
            barrier.wait();
            inward.run(reply).unwrap().verdict
        };
        replies.iter().map(once).collect::<Vec<_>>()
    });
    let mut at_once = [0, 0];
    for (n, pair) in passed[0].iter().zip(&passed[1]).enumerate() {
        let mut pair = [*pair.0, *pair.1];
        at_once[usize::from(pair[0] == DROP)] += 1;
        pair.sort_unstable();
        assert_eq!(pair, [PASS, DROP], "reply {n}");
    }
    println!("each was first so often: {at_once:?}");
    println!("figure: packets that two processors raced for: {}", 2 * ROUNDS);
    let count =
        |trial: &mut Trial, counter| usize::try_from(trial.count(counter).unwrap()).unwrap();
    assert_eq!(count(&mut trial, Counter::Restored), ROUNDS);
    let others = [Counter::Duplicate, Counter::Forged, Counter::Late, Counter::WrongServer];
    assert_eq!(others.map(|counter| count(&mut trial, counter)).iter().sum::<usize>(), ROUNDS);
}

#[test]
fn two_clients_at_once_get_what_is_theirs() {
    let Some(mut trial) = trial() else { return };
    let (out, inward) = runners(&mut trial);
    let barrier = Barrier::new(2);
    let salts = both(|cpu| {
        let client = u8::try_from(cpu + 1).unwrap();
        let mut salts = Vec::new();
        for n in 0..ROUNDS {
            barrier.wait();
            let asked = query(n, client);
            let left = out.run(&asked).unwrap();
            let salt = dns(&left.packet);
            salts.push((salt.src_port, salt.id));
            let came = inward.run(&reply(&left.packet, client)).unwrap();
            let seen = dns(&came.packet);
            let own = dns(&asked);
            assert_eq!(
                (came.verdict, seen.dst_port, seen.id),
                (PASS, own.src_port, own.id),
                "query {n}"
            );
        }
        salts
    });
    println!("figure: packets that two processors raced for: {}", 4 * ROUNDS);
    // 32 bits each: of so many pairs none is the same as its neighbour's by chance.
    assert!(salts[0].iter().zip(&salts[1]).all(|(one, other)| one != other));
    for (counter, expected) in [
        (Counter::Salted, 2 * ROUNDS),
        (Counter::Restored, 2 * ROUNDS),
        (Counter::Forged, 0),
        (Counter::Full, 0),
    ] {
        assert_eq!(trial.count(counter).unwrap(), expected as u64, "{counter:?}");
    }
}

#[test]
fn a_query_that_is_sent_twice_at_once_is_answered_for_each_salt_once() {
    let Some(mut trial) = trial() else { return };
    let (out, inward) = runners(&mut trial);
    let barrier = Barrier::new(2);
    let left = both(|_| {
        let once = |n| {
            barrier.wait();
            out.run(&query(n, 1)).unwrap().packet
        };
        (0..ROUNDS).map(once).collect::<Vec<_>>()
    });
    let mut alone = 0;
    for (one, other) in left[0].iter().zip(&left[1]) {
        let mut salts = HashSet::new();
        for packet in [one, other] {
            let salt = dns(packet);
            let first = salts.insert((salt.src_port, salt.id));
            let verdict = inward.run(&reply(packet, 1)).unwrap().verdict;
            assert_eq!(verdict, if first { PASS } else { DROP });
        }
        alone += usize::from(salts.len() == 1);
    }
    println!("{alone} of {ROUNDS} pairs had one salt for both");
    println!("figure: packets that two processors raced for: {}", 2 * ROUNDS);
    assert_eq!(trial.count(Counter::Salted).unwrap(), 2 * ROUNDS as u64);
    let restored = 2 * ROUNDS - alone;
    assert_eq!(trial.count(Counter::Restored).unwrap(), restored as u64);
    assert_eq!(trial.count(Counter::Retransmitted).unwrap(), alone as u64);
}
