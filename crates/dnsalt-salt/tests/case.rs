//! The case of letters: what is believed, and which servers are left alone with it.

mod world;

use dnsalt_salt::egress::{self, Query, Salt};
use dnsalt_salt::ingress::{Reply, Verdict};
use dnsalt_salt::layout::{Config, Counter, flags};
use world::{World, address, origin, query, right};

/// A day, in units of time.
const DAY: u64 = (86_400 * 1_000_000_000) >> 24;

fn world() -> World {
    let mut world = World::new();
    world.config = Config { flags: flags::CASE | flags::LEARN_CASE, ..world.config };
    world
}

/// The reply of a server that answers in lower case.
fn lower(query: &Query, salt: Salt) -> Reply<'static> {
    let mut reply = right(query, salt);
    reply.question.case = 0;
    reply
}

#[test]
fn the_right_reply_has_the_case_of_the_query_that_left() {
    let world = world();
    let asked = query(1);
    let salt = world.salted(&asked);
    assert!(salt.case.is_some());
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
    // Once more with the case that the client sent.
    let asked = query(2);
    let salt = world.salted(&asked);
    let guessed = right(&asked, Salt { case: None, ..salt });
    assert_eq!(world.reply(&guessed), Verdict::Truncate(origin(&asked)));
    assert_eq!(world.counted(Counter::WrongCase), 1);
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Drop);
}

#[test]
fn every_query_has_a_case_of_its_own_and_keeps_it() {
    let world = world();
    let (first, second) = (world.salted(&query(1)), world.salted(&query(2)));
    assert_ne!(first.case, second.case);
    assert_eq!(world.salted(&query(1)), first);
    world.reply(&right(&query(1), first));
    assert_ne!(world.salted(&query(1)).case, first.case);
}

#[test]
fn case_is_left_alone_where_it_is_not_wanted() {
    let off = World::new();
    assert_eq!(off.salted(&query(1)).case, None);
    let world = world();
    assert!(world.salted(&query(2)).case.is_some());
    // Those who could not be sent to TCP.
    world.without_tcp.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(world.salted(&query(3)).case, None);
}

#[test]
fn a_server_that_answers_in_lower_case_is_learned_by_the_third_query() {
    for moment in [0, 1] {
        let world = world();
        world.wait(moment);
        lower_case_is_learned(&world);
    }
}

fn lower_case_is_learned(world: &World) {
    for n in 0..3 {
        let asked = query(n);
        let salt = world.salted(&asked);
        assert!(salt.case.is_some(), "{n}");
        assert_eq!(world.reply(&lower(&asked, salt)), Verdict::Truncate(origin(&asked)));
    }
    assert_eq!(world.counted(Counter::CaseLearned), 1);
    assert_eq!(world.told.lock().unwrap().len(), 4);
    let asked = query(3);
    let salt = world.salted(&asked);
    assert_eq!(salt.case, None);
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
    // For that server, and for a day.
    let other = Query { server: address("198.51.100.54"), ..query(4) };
    assert!(world.salted(&other).case.is_some());
    world.wait(DAY - 1000);
    assert_eq!(world.salted(&query(5)).case, None);
    world.wait(1003);
    assert!(world.salted(&query(6)).case.is_some());
}

#[test]
fn two_such_replies_an_hour_are_not_enough() {
    let world = world();
    for n in 0..20 {
        let asked = query(n);
        let salt = world.salted(&asked);
        assert!(salt.case.is_some(), "{n}");
        world.reply(&lower(&asked, salt));
        world.wait(DAY / 40);
    }
    assert_eq!(world.counted(Counter::CaseLearned), 0);
}

#[test]
fn nothing_is_learned_under_attack() {
    let world = world();
    for n in 0..20 {
        let asked = query(n);
        let salt = world.salted(&asked);
        world.reply(&Reply { id: salt.id ^ 1, ..lower(&asked, salt) });
        assert_eq!(world.reply(&lower(&asked, salt)), Verdict::Truncate(origin(&asked)));
    }
    assert!(world.salted(&query(99)).case.is_some());
    assert_eq!(world.counted(Counter::CaseLearned), 0);
}

#[test]
fn without_learning_nothing_is_learned() {
    let mut world = World::new();
    world.config.flags = flags::CASE;
    for n in 0..20 {
        let asked = query(n);
        let salt = world.salted(&asked);
        assert!(salt.case.is_some());
        assert_eq!(world.reply(&lower(&asked, salt)), Verdict::Truncate(origin(&asked)));
    }
}

/// Asks as a resolver does that hears nothing; how often until there is a reply. The server answers if
/// `answers` says so.
fn resolved(world: &World, n: u64, answers: impl Fn(&Salt) -> bool) -> Option<u32> {
    for attempt in 0..6 {
        // Each time from another port, as resolvers do.
        let asked = Query { client_port: 2000 + attempt, ..query(n) };
        let egress::Verdict::Salt(salt) = world.query(&asked) else { continue };
        if answers(&salt) {
            assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
            return Some(u32::from(attempt) + 1);
        }
        world.wait(60);
    }
    None
}

#[test]
fn a_server_that_drops_what_is_mixed_is_learned() {
    let world = world();
    let mut n = 0;
    let mut lost = 0;
    while world.counted(Counter::CaseLearned) == 0 {
        n += 1;
        assert!(n < 40, "never learned");
        lost += u32::from(resolved(&world, n, |salt| salt.case.is_none()).is_none());
    }
    assert!(lost <= 2, "{lost} names did not resolve");
    assert_eq!(world.told.lock().unwrap().len(), 1);
    for n in 100..110 {
        assert_eq!(resolved(&world, n, |salt| salt.case.is_none()), Some(1));
    }
}

#[test]
fn a_server_that_is_dead_or_loses_packets_is_not_learned() {
    let world = world();
    for n in 0..10 {
        assert_eq!(resolved(&world, n, |_| false), None);
    }
    // It comes back: the first reply to a query whose case was changed shows that it keeps it.
    let mut n = 100;
    loop {
        n += 1;
        let salt = world.salted(&query(n));
        world.reply(&right(&query(n), salt));
        if salt.case.is_some() {
            break;
        }
    }
    // And one that loses half of all packets.
    for n in 200..300 {
        let _ = resolved(&world, n, |salt| salt.port.is_multiple_of(2));
    }
    assert_eq!(world.counted(Counter::CaseLearned), 0);
}

#[test]
fn queries_that_are_asked_at_once_are_no_silence() {
    let world = world();
    for id in 0..40 {
        let asked = Query { id, ..query(u64::from(id / 4)) };
        assert!(world.salted(&asked).case.is_some());
    }
}
