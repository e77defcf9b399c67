//! What the engine promises of each query, without a kernel.

mod world;

use std::collections::HashSet;

use dnsalt_salt::egress::{self, Query};
use dnsalt_salt::icmp::{self, Quote};
use dnsalt_salt::ingress::{Reply, Verdict};
use dnsalt_salt::layout::{Counter, flags};
use dnsalt_salt::question::Question;
use world::{World, address, origin, query, right, unsalted};

#[test]
fn the_right_reply_passes_once() {
    let world = World::new();
    let asked = query(1);
    let salt = world.salted(&asked);
    let reply = right(&asked, salt);
    assert_eq!(world.reply(&reply), Verdict::Restore(origin(&asked)));
    assert_eq!(world.reply(&reply), Verdict::Drop);
    assert_eq!(world.counted(Counter::Duplicate), 1);
}

#[test]
fn every_query_has_salt_of_its_own() {
    let world = World::new();
    let mut salts = HashSet::new();
    let mut ports = HashSet::new();
    for n in 0..10_000 {
        let asked = query(n);
        let salt = world.salted(&asked);
        ports.insert(salt.port);
        salts.insert((salt.port, salt.id));
        assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
    }
    // 64,512 * (1 - e^(-10,000 / 64,512)) = 9,265, with a deviation of 25.
    assert!((9_140..=9_390).contains(&ports.len()), "{}", ports.len());
    assert!(salts.len() >= 9_999);
}

#[test]
fn a_retransmission_keeps_its_salt_and_its_time() {
    let world = World::new();
    let asked = query(1);
    let salt = world.salted(&asked);
    world.wait(200);
    assert_eq!(world.salted(&asked), salt);
    world.wait(200);
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
    // Answered, it is a query like any other.
    assert_ne!(world.salted(&asked), salt);
    assert_eq!(world.counted(Counter::Retransmitted), 1);
}

#[test]
fn identical_queries_are_capped() {
    let world = World::new();
    let with_id = |id| Query { id, ..query(1) };
    let salts: Vec<_> = (0..4).map(|id| world.salted(&with_id(id))).collect();
    assert_eq!(egress::query(&world, &with_id(4)), egress::Verdict::Drop);
    assert_eq!(world.counted(Counter::Identical), 1);
    // Other servers, names and interfaces are not meant.
    world.salted(&Query { server: address("198.51.100.54"), ..with_id(5) });
    world.salted(&Query { link: 3, ..with_id(5) });
    world.salted(&query(2));
    // One is answered: there is room for another.
    let first = with_id(0);
    assert_eq!(world.reply(&right(&first, salts[0])), Verdict::Restore(origin(&first)));
    world.salted(&with_id(4));
    // All are given up.
    world.wait(299);
    for id in 10..14 {
        world.salted(&with_id(id));
    }
}

#[test]
fn what_is_forged_is_dropped_and_a_near_miss_taints() {
    for (what, change, counter) in near_misses() {
        let world = World::new();
        let asked = query(1);
        let salt = world.salted(&asked);
        let mut forged = right(&asked, salt);
        change(&mut forged);
        assert_eq!(world.reply(&forged), Verdict::Drop, "{what}");
        assert_eq!(world.counted(counter), 1, "{what}");
        assert_eq!(world.told.lock().unwrap().len(), 1, "{what}");
        // Now nothing that UDP says is believed.
        let verdict = world.reply(&right(&asked, salt));
        assert_eq!(verdict, Verdict::Truncate(origin(&asked)), "{what}");
        assert_eq!(world.reply(&right(&asked, salt)), Verdict::Drop, "{what}");
    }
}

type Change = fn(&mut Reply);

fn near_misses() -> [(&'static str, Change, Counter); 5] {
    [
        ("ID", |reply| reply.id ^= 1, Counter::WrongId),
        ("question", |reply| reply.question.hash ^= 1, Counter::WrongQuestion),
        ("no question", |reply| reply.question = Question::default(), Counter::WrongQuestion),
        ("server", |reply| reply.server = address("203.0.113.9"), Counter::WrongServer),
        ("server's port", |reply| reply.server_port = 5353, Counter::WrongServer),
    ]
}

#[test]
fn a_tainted_query_that_is_sent_again_is_answered_on_the_spot() {
    let world = World::new();
    let asked = query(1);
    let salt = world.salted(&asked);
    world.reply(&Reply { id: salt.id ^ 1, ..right(&asked, salt) });
    assert_eq!(egress::query(&world, &asked), egress::Verdict::Answer(salt));
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Truncate(origin(&asked)));
}

#[test]
fn a_port_that_nobody_waits_at() {
    let world = World::new();
    let asked = query(1);
    let salt = world.salted(&asked);
    let other = Reply { port: salt.port ^ 1, ..right(&asked, salt) };
    assert_eq!(world.reply(&other), Verdict::Drop);
    assert_eq!(world.counted(Counter::Forged), 1);
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
}

#[test]
fn the_door_of_the_first_query_is_shut_for_the_second() {
    let world = World::new();
    let (first, second) = (query(1), query(2));
    let salt = world.salted(&first);
    assert_eq!(world.reply(&right(&first, salt)), Verdict::Restore(origin(&first)));
    let later = world.salted(&second);
    let stale = Reply { port: salt.port, ..right(&second, later) };
    assert_eq!(world.reply(&stale), Verdict::Drop);
    assert_eq!(world.reply(&right(&second, later)), Verdict::Restore(origin(&second)));
}

#[test]
fn late_replies_are_dropped() {
    let world = World::new();
    let asked = query(1);
    let salt = world.salted(&asked);
    world.wait(299);
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Drop);
    assert_eq!(world.counted(Counter::Late), 1);
}

#[test]
fn another_case_is_not_believed_but_leads_to_tcp() {
    let world = World::new();
    let asked = query(1);
    let salt = world.salted(&asked);
    let mut reply = right(&asked, salt);
    reply.question.case ^= 1;
    assert_eq!(world.reply(&reply), Verdict::Truncate(origin(&asked)));
}

#[test]
fn an_error_without_a_question_passes() {
    let world = World::new();
    let asked = query(1);
    let salt = world.salted(&asked);
    let bare = Reply { question: Question::default(), bare_error: true, ..right(&asked, salt) };
    assert_eq!(world.reply(&Reply { id: salt.id ^ 1, ..bare }), Verdict::Drop);
    let asked = query(2);
    let salt = world.salted(&asked);
    let bare = Reply { question: Question::default(), bare_error: true, ..right(&asked, salt) };
    assert_eq!(world.reply(&bare), Verdict::Restore(origin(&asked)));
}

#[test]
fn clients_that_cannot_do_tcp_are_never_sent_there() {
    let world = World::new();
    world.without_tcp.store(true, std::sync::atomic::Ordering::Relaxed);
    let asked = query(1);
    let salt = world.salted(&asked);
    world.reply(&Reply { id: salt.id ^ 1, ..right(&asked, salt) });
    assert_eq!(world.salted(&asked), salt);
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
}

#[test]
fn believing_after_a_miss_can_be_had() {
    let mut world = World::new();
    world.config.flags = flags::BELIEVE_AFTER_MISS;
    let asked = query(1);
    let salt = world.salted(&asked);
    world.reply(&Reply { id: salt.id ^ 1, ..right(&asked, salt) });
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
}

#[test]
fn a_full_table_passes_queries_and_their_replies() {
    let world = World::with_ports(vec![7777]);
    let waits = query(1);
    let salt = world.salted(&waits);
    let passed = query(2);
    assert_eq!(egress::query(&world, &passed), egress::Verdict::Pass);
    let as_it_was = right(&passed, unsalted(passed.client_port, passed.id));
    assert_eq!(world.reply(&as_it_was), Verdict::Pass);
    assert_eq!(world.reply(&Reply { port: 4321, ..as_it_was }), Verdict::Drop);
    // Within the lifetime, rounded up.
    world.wait(300);
    assert_eq!(world.reply(&as_it_was), Verdict::Drop);
    assert_eq!((salt.port, world.counted(Counter::Full)), (7777, 1));
}

#[test]
fn a_full_table_can_drop_instead() {
    let mut world = World::with_ports(vec![7777]);
    world.config.flags = flags::DROP_WHEN_FULL;
    world.salted(&query(1));
    assert_eq!(egress::query(&world, &query(2)), egress::Verdict::Drop);
}

#[test]
fn replies_to_what_was_asked_before_pass_for_a_while() {
    let mut world = World::new();
    world.config.grace_until = 1100;
    let before = right(&query(1), unsalted(44444, 1));
    assert_eq!(world.reply(&before), Verdict::Pass);
    world.wait(100);
    assert_eq!(world.reply(&before), Verdict::Drop);
}

/// Times wrap after two years, and are compared as if they lay close together.
#[test]
fn years_later_nothing_comes_back() {
    for years in [1 << 31, (1 << 32) - (1 << 14), 1 << 32] {
        let mut world = World::new();
        world.config.grace_until = 1299;
        let asked = query(1);
        let salt = world.salted(&asked);
        let forged = right(&query(2), unsalted(44444, 1));
        assert_eq!(world.reply(&forged), Verdict::Pass);
        world.wait(300);
        assert_eq!(world.reply(&forged), Verdict::Drop);
        world.wait(years);
        assert_eq!(world.reply(&forged), Verdict::Drop, "{years}");
        if years != 1 << 32 {
            assert_eq!(world.reply(&right(&asked, salt)), Verdict::Drop, "{years}");
            assert_ne!(world.salted(&asked), salt, "{years}");
        }
    }
}

#[test]
fn a_quarter_million_queries_are_outstanding() {
    let world = World::new();
    let asked = |n: u64| Query {
        server: address(&format!("198.51.{}.{}", n % 4, n / 4 % 250)),
        ..query(n)
    };
    let salts: Vec<_> = (0..262_144).map(|n| world.salted(&asked(n))).collect();
    for (n, salt) in (0..).zip(salts) {
        assert_eq!(world.reply(&right(&asked(n), salt)), Verdict::Restore(origin(&asked(n))));
    }
    assert_eq!(world.counted(Counter::Full), 0);
}

#[test]
fn errors_of_icmp_are_translated_if_they_quote_what_is_outstanding() {
    let world = World::new();
    let asked = query(1);
    let salt = world.salted(&asked);
    let quote =
        Quote { source: salt.source, server: asked.server, port: salt.port, server_port: 53 };
    assert_eq!(icmp::error(&world, &quote), icmp::Verdict::Translate(origin(&asked)));
    assert_eq!(icmp::error(&world, &Quote { port: salt.port ^ 1, ..quote }), icmp::Verdict::Drop);
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
    assert_eq!(icmp::error(&world, &quote), icmp::Verdict::Drop);
}

#[test]
fn two_processors_do_not_swap_replies() {
    let world = World::with_ports((2000..2100).collect());
    let run = |cpu: u16| {
        for n in 0..100_000 {
            let asked = Query { client_port: 1000 + cpu, ..query(u64::from(cpu) << 32 | n) };
            let egress::Verdict::Salt(salt) = egress::query(&world, &asked) else { continue };
            match world.reply(&right(&asked, salt)) {
                Verdict::Restore(found) => assert_eq!(found, origin(&asked)),
                other => panic!("{other:?}"),
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run(1));
        scope.spawn(|| run(2));
    });
    let sent = world.counted(Counter::Salted);
    assert_eq!(world.counted(Counter::Restored), sent);
    assert_eq!(sent + world.counted(Counter::Full), 200_000);
}
