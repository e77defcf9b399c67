//! The model sees it when an engine breaks the contract: a test that cannot fail would be none.

use std::collections::BTreeMap;

use dnsalt_model::packet::{Seen, read};
use dnsalt_model::play::Host;
use dnsalt_model::script::events;
use dnsalt_model::{DROP, Done, Engine, PASS, Play, TURN_BACK, Way, policies};
use dnsalt_salt::layout::Counter;
use dnsalt_sim::World;

/// What an engine may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// It lets in what it should have dropped.
    LetsIn,
    /// It drops what it should have let through.
    Drops,
    /// From some time on, queries leave as they came.
    DoesNothing,
    /// A query leaves from a port that is no choice.
    OnePort,
    /// The reply has another query ID.
    OtherId,
    /// The checksum is not mended.
    WrongSum,
    /// A byte at the end of the packet changes.
    ChangesByte,
    /// The reply has the port of another client.
    SwapsClients,
    /// A reply that is to be cut down is let in whole.
    Whole,
    /// A byte is lost.
    Shortens,
}

const FAULTS: [Fault; 10] = [
    Fault::LetsIn,
    Fault::Drops,
    Fault::DoesNothing,
    Fault::OnePort,
    Fault::OtherId,
    Fault::WrongSum,
    Fault::ChangesByte,
    Fault::SwapsClients,
    Fault::Whole,
    Fault::Shortens,
];

/// An engine that does something wrong from time to time.
struct Saboteur {
    host: Host,
    fault: Fault,
    /// Packets until it does.
    after: u32,
    /// How often it did.
    times: u32,
}

impl Engine for Saboteur {
    fn run(&mut self, way: Way, packet: &[u8]) -> Done {
        let right = self.host.run(way, packet);
        let Some(after) = self.after.checked_sub(1) else {
            let wrong = spoilt(self.fault, way, packet, &right);
            if (self.times == 0 || self.fault == Fault::DoesNothing)
                && let Some(wrong) = wrong.filter(|wrong| *wrong != right)
            {
                self.times += 1;
                return wrong;
            }
            return right;
        };
        self.after = after;
        right
    }

    fn wait(&mut self, units: u64) {
        self.host.wait(units);
    }

    fn count(&mut self, _: Counter) -> Option<u64> {
        None
    }
}

/// None where the fault does not fit.
fn spoilt(fault: Fault, way: Way, before: &[u8], right: &Done) -> Option<Done> {
    let mut packet = right.packet.clone();
    let changed = right.verdict == PASS && packet != before;
    let Seen::Udp(ip, Some(dns)) = read(&packet) else { return None };
    let (source, destination) = (ip.transport, ip.transport + 2);
    let verdict = match fault {
        // What makes no sense may be either.
        Fault::LetsIn if right.verdict == DROP && way == Way::In => PASS,
        Fault::Drops if right.verdict != DROP => DROP,
        Fault::DoesNothing if changed && way == Way::Out => {
            packet = before.to_vec();
            PASS
        }
        Fault::OnePort if changed && way == Way::Out => {
            packet[source..source + 2].copy_from_slice(&80_u16.to_be_bytes());
            PASS
        }
        Fault::OtherId if changed && way == Way::In => {
            packet[dns.message] ^= 1;
            PASS
        }
        Fault::WrongSum if changed && packet[ip.transport + 6..ip.transport + 8] != [0, 0] => {
            packet[ip.transport + 7] ^= 1;
            PASS
        }
        Fault::ChangesByte if right.verdict == PASS => {
            *packet.last_mut()? ^= 1;
            PASS
        }
        Fault::SwapsClients if changed && way == Way::In => {
            packet[destination + 1] ^= 1;
            PASS
        }
        Fault::Whole if changed && way == Way::In && packet.len() < before.len() => {
            packet = before.to_vec();
            PASS
        }
        Fault::Shortens if [PASS, TURN_BACK].contains(&right.verdict) => {
            packet.pop();
            right.verdict
        }
        _ => return None,
    };
    Some(Done { verdict, packet })
}

#[test]
fn every_fault_is_seen() {
    let mut random = 99_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    let policy = |n| policies::policy(n, policies::QUICK);
    let settings: Vec<_> = (0..policies::COUNT).map(|n| policies::setting(&policy(n))).collect();
    let models: Vec<_> = (0..policies::COUNT).map(|n| policies::model(&policy(n))).collect();
    let mut world = Some(World::new(dnsalt_sim::Setting::default()));
    let (mut made, mut missed): (BTreeMap<Fault, u32>, Vec<String>) = Default::default();
    for n in 0..1500_usize {
        let fault = FAULTS[n % FAULTS.len()];
        let policy = n / FAULTS.len() % policies::COUNT;
        let mut world_now = world.take().unwrap();
        world_now.set(settings[policy].clone());
        let script: Vec<u8> = (0..600).map(|_| next()).collect();
        let host = Host { world: world_now, partial: false };
        let saboteur = Saboteur { host, fault, after: u32::from(next()) % 32, times: 0 };
        let mut play = Play::new(saboteur, models[policy].clone());
        let played = play.play(&events(&script));
        // One query that leaves as it came may be chance.
        if play.engine.times > u32::from(fault == Fault::DoesNothing) {
            *made.entry(fault).or_default() += 1;
            if played.is_ok() {
                missed.push(format!("{fault:?} with policy {policy}, case {n}"));
            }
        } else if play.engine.times == 0 {
            played.unwrap();
        }
        world = Some(play.engine.host.world);
    }
    println!("{made:?}");
    println!(
        "figure: faults put into the engine that the model saw, all of them: {}",
        made.values().sum::<u32>()
    );
    assert!(FAULTS.iter().all(|fault| made.get(fault).is_some_and(|n| *n >= 5)), "{made:?}");
    assert!(missed.is_empty(), "{} of {made:?}: {missed:?}", missed.len());
}
