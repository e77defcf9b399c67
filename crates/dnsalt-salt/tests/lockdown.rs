//! When a server is asked over TCP alone, and for how long, without a kernel.

mod world;

use dnsalt_salt::Address;
use dnsalt_salt::egress::{self, Query};
use dnsalt_salt::ingress::{Reply, Verdict};
use dnsalt_salt::layout::{Counter, flags};
use world::{World, address, origin, query, right, unsalted};

/// A second, rounded up.
const SECOND: u64 = 60;
/// Replies within a second that no query waits for, up to which nothing happens.
const MOST: u32 = 1000;

/// Whether a query is answered on the spot.
fn is_answered(world: &World, query: &Query) -> bool {
    match egress::query(world, query) {
        egress::Verdict::Answer(_) => true,
        egress::Verdict::Salt(_) => false,
        other => panic!("{other:?}"),
    }
}

/// A reply to a port that no query of these tests leaves from.
fn unsolicited(server: Address) -> Reply<'static> {
    Reply { server, ..right(&query(0), unsalted(7, 7)) }
}

/// So many of them at once.
fn flood(world: &World, server: Address, count: u32) {
    for _ in 0..count {
        assert_eq!(world.reply(&unsolicited(server)), Verdict::Drop);
    }
}

/// An address that shares the place of another one's.
fn neighbour(of: Address) -> Address {
    let world = World::new();
    flood(&world, of, MOST + 1);
    (0..=u16::MAX)
        .map(|n| address(&format!("203.0.{}.{}", n >> 8, n & 0xff)))
        .find(|other| {
            flood(&world, *other, 1);
            world.counted(Counter::Lockdowns) == 2
        })
        .expect("one of 1024 does")
}

#[test]
fn more_unsolicited_replies_than_the_limit_lock_a_server_down_for_a_while() {
    let world = World::new();
    let server = query(0).server;
    flood(&world, server, MOST);
    assert!(!is_answered(&world, &query(1)));
    flood(&world, server, 1);
    assert!(is_answered(&world, &query(2)));
    // What was asked before and is asked again, too.
    assert!(is_answered(&world, &query(1)));
    let other = Query { server: address("198.51.100.54"), ..query(3) };
    assert!(!is_answered(&world, &other));
    assert_eq!(world.counted(Counter::Lockdowns), 1);
    {
        let told = world.told.lock().unwrap();
        let [event] = told[..] else { panic!("{told:?}") };
        assert_eq!(event.server, server);
        assert_eq!(
            (event.counter, event.cause),
            (Counter::Lockdowns as u32, Counter::Forged as u32)
        );
    }
    world.wait(1787);
    assert!(is_answered(&world, &query(4)));
    world.wait(3);
    assert!(!is_answered(&world, &query(5)));
}

#[test]
fn a_lockdown_lasts_as_long_as_unsolicited_replies_come_at_that_rate() {
    let mut world = World::new();
    // As few as these would make it last, too.
    world.config.lockdown_after = 0;
    let server = query(0).server;
    flood(&world, server, MOST + 1);
    for n in 0..10 {
        world.wait(1700);
        assert!(is_answered(&world, &query(n)));
        flood(&world, server, MOST + 1);
    }
    world.wait(1700);
    flood(&world, server, MOST);
    world.wait(100);
    assert!(!is_answered(&world, &query(20)));
    assert_eq!(world.counted(Counter::Lockdowns), 1);
    flood(&world, server, MOST + 1);
    assert_eq!(world.counted(Counter::Lockdowns), 2);
}

#[test]
fn below_the_rate_nothing_happens() {
    let world = World::new();
    for _ in 0..1000 {
        flood(&world, query(0).server, MOST);
        world.wait(SECOND);
    }
    assert!(!is_answered(&world, &query(1)));
    assert_eq!(world.counted(Counter::Lockdowns), 0);
    assert_eq!(world.counted(Counter::Forged), 1_000_000);
}

#[test]
fn zero_is_never() {
    let mut world = World::new();
    for (after, begins, first) in [(0, false, 100), (64, true, 200)] {
        world.config.lockdown_unsolicited = 0;
        world.config.lockdown_after = after;
        flood(&world, query(0).server, 100_000);
        assert!(!is_answered(&world, &query(1)));
        near_misses(&world, first..first + 64);
        assert_eq!(is_answered(&world, &query(2)), begins);
    }
    // And the other way about.
    let mut world = World::new();
    world.config.lockdown_after = 0;
    near_misses(&world, 100..1000);
    assert!(!is_answered(&world, &query(1)));
    flood(&world, query(0).server, MOST + 1);
    assert!(is_answered(&world, &query(2)));
}

/// One for each of some queries.
fn near_misses(world: &World, queries: std::ops::Range<u64>) {
    for n in queries {
        let asked = query(n);
        let salt = world.salted(&asked);
        world.reply(&Reply { id: salt.id ^ 1, ..right(&asked, salt) });
    }
}

#[test]
fn what_came_late_or_twice_or_is_let_in_is_not_unsolicited() {
    let mut world = World::new();
    let (twice, late) = (query(1), query(2));
    let salts = [&twice, &late].map(|asked| world.salted(asked));
    world.reply(&right(&twice, salts[0]));
    for _ in 0..=MOST {
        world.reply(&right(&twice, salts[0]));
    }
    world.wait(299);
    for _ in 0..=MOST {
        world.reply(&right(&late, salts[1]));
    }
    world.config.grace_until = 2000;
    for _ in 0..=MOST {
        assert_eq!(world.reply(&unsolicited(twice.server)), Verdict::Pass);
    }
    let counted = [Counter::Duplicate, Counter::Late, Counter::Passed].map(|c| world.counted(c));
    assert_eq!(counted, [u64::from(MOST) + 1; 3]);
    assert_eq!(world.counted(Counter::Lockdowns), 0);
}

#[test]
fn clients_that_cannot_do_tcp_are_asked_as_ever() {
    let world = World::new();
    world.without_tcp.store(true, std::sync::atomic::Ordering::Relaxed);
    let before = query(1);
    let salt = world.salted(&before);
    flood(&world, before.server, MOST + 1);
    assert_eq!(world.counted(Counter::Lockdowns), 1);
    assert!(!is_answered(&world, &query(2)));
    assert_eq!(world.reply(&right(&before, salt)), Verdict::Restore(origin(&before)));
}

/// Else an attacker would begin with a query that waits, and have all of its time for it.
#[test]
fn what_was_asked_before_it_began_is_not_believed() {
    for believing in [0, flags::BELIEVE_AFTER_MISS] {
        let mut world = World::new();
        world.config.flags = believing;
        let asked = query(1);
        let salt = world.salted(&asked);
        flood(&world, asked.server, MOST + 1);
        assert_eq!(world.reply(&right(&asked, salt)), Verdict::Truncate(origin(&asked)));
        // Our own answer on the spot is nothing to cut.
        let asked = query(2);
        let egress::Verdict::Answer(salt) = egress::query(&world, &asked) else { panic!() };
        let ours = Reply { bare_tc: true, ..right(&asked, salt) };
        assert_eq!(world.reply(&ours), Verdict::Restore(origin(&asked)));
        assert_eq!(world.counted(Counter::Truncated), 1);
    }
}

#[test]
fn replies_in_other_names_do_not_hide_an_attack() {
    let world = World::new();
    let server = query(0).server;
    for n in 0..=u64::from(MOST) {
        flood(&world, server, 1);
        for other in 0..16 {
            let n = n << 4 | other;
            flood(&world, address(&format!("203.{}.{}.9", n >> 8, n & 0xff)), 1);
        }
    }
    assert!(is_answered(&world, &query(1)));
    // At most one more, of those that share the place: so few of each are no attack on the others.
    assert!(world.counted(Counter::Lockdowns) <= 2);
}

#[test]
fn a_server_that_shares_a_place_does_not_hide_an_attack() {
    let server = query(0).server;
    let other = neighbour(server);
    let of_other = |n| Query { server: other, ..query(n) };
    // The other one is locked down first; then anything that goes on is about both.
    let world = World::new();
    flood(&world, other, MOST + 1);
    assert!(is_answered(&world, &of_other(1)));
    assert!(!is_answered(&world, &query(2)));
    flood(&world, server, 1);
    assert!(is_answered(&world, &query(3)));
    assert!(is_answered(&world, &of_other(4)));
    assert_eq!(world.counted(Counter::Lockdowns), 2);
    // Each ends by itself.
    world.wait(1700);
    flood(&world, other, MOST + 1);
    world.wait(100);
    assert!(is_answered(&world, &of_other(5)));
    assert!(!is_answered(&world, &query(6)));
    // Near misses, too, count where another one is locked down.
    near_misses(&world, 100..164);
    assert!(is_answered(&world, &query(7)));
}

#[test]
fn several_processors_begin_one_lockdown() {
    for _ in 0..20 {
        let world = World::new();
        let server = query(0).server;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| flood(&world, server, MOST));
            }
        });
        assert_eq!(world.counted(Counter::Lockdowns), 1);
        assert!(is_answered(&world, &query(1)));
    }
}

#[test]
fn many_near_misses_lock_a_server_down_for_as_long_as_they_last() {
    let world = World::new();
    for n in 0..64 {
        let asked = query(n);
        let salt = world.salted(&asked);
        world.reply(&Reply { id: salt.id ^ 1, ..right(&asked, salt) });
    }
    assert_eq!(world.counted(Counter::Lockdowns), 1);
    let answered = |n| matches!(egress::query(&world, &query(n)), egress::Verdict::Answer(_));
    assert!(answered(100));
    let other = Query { server: address("198.51.100.54"), ..query(101) };
    world.salted(&other);
    // Forgeries go on, at ports where nobody waits: so does the lockdown.
    world.wait(1700);
    for port in 0..64 {
        world.reply(&Reply { port, ..right(&query(1), unsalted(port, 0)) });
    }
    world.wait(1700);
    assert!(answered(102));
    assert_eq!(world.counted(Counter::Lockdowns), 1);
    world.wait(1800);
    assert!(!answered(103));
}

#[test]
fn near_misses_over_a_long_time_are_no_attack() {
    let world = World::new();
    for n in 0..640 {
        let asked = query(n);
        let salt = world.salted(&asked);
        world.reply(&Reply { id: salt.id ^ 1, ..right(&asked, salt) });
        world.wait(2);
    }
    assert_eq!(world.counted(Counter::Lockdowns), 0);
}
