//! A day of the engine in a few seconds: what leaves comes back, whatever table or clock goes round meanwhile, and
//! what does not is counted.

mod common;

use common::{dns, packet};
use dnsalt_model::{DROP, PASS, TURN_BACK, policies};
use dnsalt_salt::layout::{Counter, SLOTS};
use dnsalt_sim::{Way, World};

/// In units of time; a query in each, 60 a second.
const DAY: u64 = (24 * 3600 * 1_000_000_000) >> 24;
/// Every so many queries an attack begins: each half hour.
const ATTACKS: u64 = 107_000;
/// Forged replies of an attack, in the name of the server that is asked.
const FORGED: u16 = 2000;

#[test]
fn a_day() {
    let policy = policies::policy(0, "lifetime = 5\n");
    let world = World::new(policies::setting(&policy));
    // Half of the day before 32 bits of time go round, half of it after.
    world.set_time((1 << 32) - DAY / 2);
    let (client, server) = ([10, 0, 1, 1], [10, 0, 53, 1]);
    let (mut asked, mut answered, mut silent, mut by_tcp, mut forged) = (0_u64, 0, 0, 0, 0);
    while world.time() < (1 << 32) + DAY / 2 {
        world.wait(1);
        asked += 1;
        let id = u16::try_from(asked % 65_536).unwrap().to_be_bytes();
        let name = format!("{:06}", asked % 1_000_000);
        let head = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6];
        let message = [&id[..], &head, name.as_bytes(), &[0, 0, 1, 0, 1]].concat();
        let mut query = packet(client, server, [40_000, 53], &message);
        let verdict = world.run(Way::Out, true, &mut query);
        let mut reply = if verdict == TURN_BACK {
            by_tcp += 1;
            query
        } else {
            assert_eq!(verdict, PASS);
            let left = dns(&query);
            let mut message = query[left.message..].to_vec();
            message[2] |= 0x80;
            packet(server, client, [53, left.src_port], &message)
        };
        if asked % ATTACKS == 0 {
            for n in 0..FORGED {
                let message =
                    [&n.to_be_bytes()[..], &[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]];
                let mut one = packet(server, client, [53, 5000 + n], &message.concat());
                assert_eq!(world.run(Way::In, true, &mut one), DROP);
                forged += 1;
            }
        }
        // Some servers do not answer.
        if verdict == PASS && asked % 100 == 7 {
            silent += 1;
            continue;
        }
        assert_eq!(world.run(Way::In, true, &mut reply), PASS, "query {asked}");
        let came = dns(&reply);
        assert_eq!((came.dst_port, came.id.to_be_bytes()), (40_000, id), "query {asked}");
        answered += 1;
    }
    println!(
        "{asked} asked, {answered} answered, {silent} never, {by_tcp} sent to TCP, {forged} forged"
    );
    println!("figure: queries in a day of the engine: {asked}");
    println!(
        "figure: queries in a day of the engine, lost and not counted: {}",
        asked - answered - silent
    );
    assert!(asked > 4 * u64::from(SLOTS) && by_tcp > 10_000);
    let count = |counter| world.count(counter);
    assert_eq!(answered + silent, asked);
    assert_eq!(count(Counter::Salted) + count(Counter::AnsweredTc), asked);
    assert_eq!(count(Counter::Restored) + count(Counter::Truncated), answered);
    assert_eq!(count(Counter::Forged) + count(Counter::WrongId), forged);
    assert_eq!(count(Counter::Lockdowns), asked / ATTACKS);
    for counter in
        [Counter::Full, Counter::Identical, Counter::Duplicate, Counter::Late, Counter::Passed]
    {
        assert_eq!(count(counter), 0, "{counter:?}");
    }
}
