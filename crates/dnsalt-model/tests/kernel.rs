//! The program in the kernel keeps the same contract, and makes of each packet what the kernel half on the host
//! does, byte for byte.

use std::ops::Range;

use dnsalt_bpf::Trial;
use dnsalt_lab::require_root;
use dnsalt_model::play::{Host, Play, Tally};
use dnsalt_model::script::{Event, STEP, events};
use dnsalt_model::{Done, Engine, Way, policies};
use dnsalt_salt::layout::Counter;
use dnsalt_sim::World;
use rustix::thread::CpuSet;

/// Queries of a trial, fewer than the engine has slots near at hand: it forgets those that are done.
const MOST_QUERIES: usize = 4000;

/// Both: what they make of a packet has to be the same, byte for byte.
struct Kernel {
    trial: Trial,
    host: Host,
    waited: u64,
}

impl Engine for Kernel {
    fn run(&mut self, way: Way, packet: &[u8]) -> Done {
        let program = match way {
            Way::Out => dnsalt_bpf::Way::Out,
            Way::In => dnsalt_bpf::Way::In,
        };
        let ran = self.trial.run(program, packet, 1).unwrap();
        let done = Done { verdict: ran.verdict, packet: ran.packet };
        let on_host = self.host.run(way, packet);
        assert_eq!(done, on_host, "{way:?} {packet:x?}");
        done
    }

    fn wait(&mut self, units: u64) {
        std::thread::sleep(std::time::Duration::from_nanos(units << 24));
        self.host.wait(units);
        self.waited += units;
    }

    fn count(&mut self, counter: Counter) -> Option<u64> {
        Some(self.trial.count(counter).unwrap())
    }
}

/// Random bytes, from a number on.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Plays to a program of its own so many scripts; `steps`: so long it may wait in all.
fn played(policy: usize, times: &str, scripts: Range<u64>, steps: u64) -> Tally {
    let policy = policies::policy(policy, times);
    // Each processor draws its own numbers, and the host has one.
    let mut first = CpuSet::new();
    first.set(0);
    rustix::thread::sched_setaffinity(None, &first).unwrap();
    let trial = Trial::with_keys(&policy, &policies::KEYS).unwrap();
    let host = Host { world: World::new(policies::setting(&policy)), partial: false };
    let mut play = Play::new(Kernel { trial, host, waited: 0 }, policies::model(&policy));
    for seed in scripts {
        if play.model.queries() > MOST_QUERIES {
            break;
        }
        let mut script = events(&bytes(seed, 600));
        let mut left = (steps * STEP).saturating_sub(play.engine.waited);
        script.retain(|event| match event {
            Event::Wait(units) => {
                let fits = *units <= left;
                left -= if fits { *units } else { 0 };
                fits
            }
            // The kernel takes no packet that is shorter than its headers.
            Event::Raw(_, bytes) => bytes.len() > 60,
            _ => true,
        });
        if let Err(wrong) = play.play(&script) {
            panic!("script {seed}: {wrong}");
        }
    }
    println!(
        "figure: packets, kernel and host the same and as the model has it: {}",
        play.tally.packets
    );
    play.tally
}

fn can_load() -> bool {
    require_root().inspect_err(|why| eprintln!("skipped: {why}")).is_ok()
}

#[test]
fn for_long() {
    if !can_load() {
        return;
    }
    for policy in 0..policies::COUNT {
        let first = 1000 * policy as u64;
        let all = played(policy, policies::LONG, first..first + 150, 0);
        println!("policy {policy}: {all:?}");
        let least = [all.nothing, all.salted, all.again, all.restored, all.dropped, all.translated];
        assert!(least.iter().all(|n| *n >= 20), "policy {policy}: {all:?}");
    }
}

#[test]
fn under_attack() {
    if !can_load() {
        return;
    }
    let mut all = Tally::default();
    for n in 0..8 {
        all += played(n, policies::QUICK, 9000 + 10 * n as u64..9003 + 10 * n as u64, 0);
    }
    println!("{all:?}");
    assert!(all.answered >= 10 && all.truncated >= 10 && all.salted >= 100, "{all:?}");
}

#[test]
fn while_time_passes() {
    if !can_load() {
        return;
    }
    let mut all = Tally::default();
    for n in 0..2 {
        all += played(n, policies::QUICK, 20_000 + 100 * n as u64..20_010 + 100 * n as u64, 4);
    }
    println!("{all:?}");
    assert!(all.salted >= 20, "{all:?}");
}
