//! DNS cookies: what is believed with them and without, and which servers get none.

mod world;

use dnsalt_salt::cookies;
use dnsalt_salt::edns::{Added, Brought};
use dnsalt_salt::egress::{self, Query};
use dnsalt_salt::ingress::{Reply, Verdict};
use dnsalt_salt::layout::{Counter, flags};
use world::{World, origin, query, right};

/// A day, in units of time.
const DAY: u64 = (86_400 * 1_000_000_000) >> 24;
const SERVER: [u64; 2] = [21, 22];

fn world() -> World {
    let mut world = World::new();
    world.config.flags = flags::COOKIES;
    world
}

/// A query without EDNS.
fn bare(n: u64) -> Query {
    Query { added: Added::Record, ..query(n) }
}

/// What a server that has cookies sends back.
fn cookie() -> Brought {
    let server = Some(SERVER);
    Brought { cookie: true, server, record: 39, option: 28, more: true, ..without() }
}

/// What one sends that knows nothing of them.
fn without() -> Brought {
    Brought { read: true, ..Brought::default() }
}

/// Asks, and hears this.
fn heard(world: &World, n: u64, brought: Brought) -> Verdict {
    let asked = bare(n);
    let salt = world.salted(&asked);
    world.reply(&Reply { brought: &brought, ..right(&asked, salt) })
}

fn believed(n: u64) -> Verdict {
    Verdict::Restore(origin(&bare(n)))
}

fn to_tcp(n: u64) -> Verdict {
    Verdict::Truncate(origin(&bare(n)))
}

#[test]
fn of_who_has_cookies_nothing_is_believed_without() {
    let world = world();
    assert_eq!(heard(&world, 1, without()), believed(1), "nothing is known yet");
    assert_eq!(heard(&world, 2, cookie()), believed(2));
    assert_eq!(heard(&world, 3, without()), to_tcp(3));
    assert_eq!(heard(&world, 4, cookie()), believed(4));
    world.wait(DAY + 2);
    assert_eq!(heard(&world, 5, without()), believed(5));
    assert_eq!(
        (world.counted(Counter::CookieReturned), world.counted(Counter::CookieMissing)),
        (2, 1)
    );
}

#[test]
fn the_server_cookie_goes_back_to_who_gave_it() {
    let world = world();
    let asked = bare(1);
    assert_eq!(cookies::of_server(&world, asked.client, asked.server), None);
    assert_eq!(heard(&world, 1, cookie()), believed(1));
    assert_eq!(cookies::of_server(&world, asked.client, asked.server), Some(SERVER));
    let other = world::address("192.0.2.2");
    assert_eq!(cookies::of_server(&world, other, asked.server), None, "it is bound to an address");
    assert_eq!(cookies::of_server(&world, asked.client, other), None);
}

#[test]
fn a_stale_server_cookie_leads_to_tcp_and_to_a_new_one() {
    let world = world();
    assert_eq!(heard(&world, 1, cookie()), believed(1));
    let new = Some([31, 32]);
    assert_eq!(heard(&world, 2, Brought { bad: true, server: new, ..cookie() }), to_tcp(2));
    let asked = bare(3);
    assert_eq!(cookies::of_server(&world, asked.client, asked.server), new);
    assert_eq!(world.counted(Counter::CookieMissing), 0, "the server has it");
}

#[test]
fn who_knows_no_edns_gets_no_cookies_soon() {
    let world = world();
    let error = Brought { refused: true, ..without() };
    for n in 0..3 {
        assert_eq!(heard(&world, n, error), to_tcp(n));
    }
    assert_eq!(world.counted(Counter::CookieLearned), 1);
    let salt = world.salted(&bare(4));
    assert_eq!(salt.added, Added::Nothing);
    world.wait(DAY + 2);
    assert_eq!(world.salted(&bare(5)).added, Added::Record);
}

#[test]
fn who_does_not_answer_queries_with_cookies_is_told_from_who_is_dead() {
    let world = world();
    for dead in [true, false] {
        let mut plain = 0;
        for n in 0..200 {
            let asked = bare(n + if dead { 0 } else { 1000 });
            let salt = world.salted(&asked);
            world.wait(30);
            if salt.added == Added::Nothing && !dead {
                plain += 1;
                world.reply(&right(&Query { added: Added::Nothing, ..asked }, salt));
            } else {
                world.salted(&asked);
            }
            world.wait(300);
        }
        let learned = world.counted(Counter::CookieLearned);
        assert_eq!(learned, u64::from(!dead), "{plain}");
    }
}

#[test]
fn a_record_that_cannot_be_taken_out_leads_to_tcp() {
    let world = world();
    let odd = Brought { more: true, ..without() };
    for n in 0..3 {
        assert_eq!(heard(&world, n, odd), to_tcp(n));
    }
    assert_eq!(world.salted(&bare(4)).added, Added::Nothing, "it would happen each time");
    let world = self::world();
    // To a client that has EDNS itself it is nothing new.
    let asked = Query { added: Added::Option, ..query(2) };
    let salt = world.salted(&asked);
    let reply = Reply { brought: &odd, ..right(&asked, salt) };
    assert_eq!(world.reply(&reply), Verdict::Restore(origin(&asked)));
}

/// The cookie is in the last of them.
#[test]
fn fragments_are_no_fault_of_their_server() {
    let world = world();
    assert_eq!(heard(&world, 1, cookie()), believed(1));
    for n in 2..8 {
        let asked = bare(n);
        let salt = world.salted(&asked);
        assert_eq!(world.reply(&Reply { fragmented: true, ..right(&asked, salt) }), to_tcp(n));
    }
    assert_eq!(
        (world.counted(Counter::CookieMissing), world.counted(Counter::CookieLearned)),
        (0, 0)
    );
}

#[test]
fn clients_that_cannot_do_tcp_and_policies_without_get_none() {
    let world = world();
    world.without_tcp.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(world.salted(&bare(1)).added, Added::Nothing);
    assert_eq!(World::new().salted(&bare(1)).added, Added::Nothing);
}

#[test]
fn a_retransmission_leaves_as_it_did() {
    let world = world();
    let salt = world.salted(&bare(1));
    assert_eq!((salt.added, world.salted(&bare(1))), (Added::Record, salt));
}

/// Our own answer on the spot has none.
#[test]
fn during_a_lockdown_no_cookie_is_waited_for() {
    let mut world = world();
    world.config.lockdown_unsolicited = 1;
    assert_eq!(heard(&world, 1, cookie()), believed(1));
    for port in 2000..2003 {
        world.reply(&Reply { port, ..right(&query(1), world::unsalted(port, 0)) });
    }
    let asked = bare(2);
    let egress::Verdict::Answer(salt) = world.query(&asked) else { panic!() };
    let ours = Reply { bare_tc: true, ..right(&asked, salt) };
    assert_eq!(world.reply(&ours), Verdict::Restore(origin(&asked)));
}
