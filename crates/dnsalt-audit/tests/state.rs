//! States merge in any order with the same result, and come back from files as they were.

use dnsalt_audit::attack::Attacker;
use dnsalt_audit::event::{Address, Event, Kind, QueryTraits, ReplyTraits};
use dnsalt_audit::judge::Scratch;
use dnsalt_audit::judgement::{Terms, control, judge};
use dnsalt_audit::predict::Effort;
use dnsalt_audit::state::{State, StateError};
use proptest::prelude::*;

/// A packet out of a small world, so that addresses, times and IDs meet again.
fn packet() -> impl Strategy<Value = Event> {
    let traits = (0..20_u8, 0..20_u8, any::<bool>(), prop::option::of(any::<[u8; 8]>()));
    let kind = (0..8_u8, traits).prop_map(|(kind, (a, b, dnssec_ok, cookie))| match kind {
        0..5 => Kind::Query(QueryTraits {
            letters: a.max(b),
            upper: a.min(b),
            edns: dnssec_ok.then_some(1232),
            dnssec_ok,
            cookie,
        }),
        5 | 6 => {
            Kind::Reply(ReplyTraits { truncated: dnssec_ok, questionless: false, cookie }, a > 10)
        }
        _ => Kind::TcpOpened,
    });
    let whom = (0..4_u128, 0..6_u128, 0..50_u64);
    (whom, 0..8_u16, 0..4_u16, 0..3_u32, kind).prop_map(
        |((client, server, time), port, id, question, kind)| Event {
            time: time * 100_000_000,
            client: Address(client),
            server: Address(server),
            port,
            id,
            question,
            kind,
        },
    )
}

fn state(packets: &[Event]) -> State {
    let mut state = State::default();
    for packet in packets {
        state.observe(packet);
    }
    state
}

fn bytes(state: &mut State) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.write(&mut bytes).unwrap();
    bytes
}

fn merged(parts: &[&State]) -> Vec<u8> {
    let mut all = State::default();
    for part in parts {
        all.merge((*part).clone());
    }
    bytes(&mut all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_is_associative_and_commutative(
        a in prop::collection::vec(packet(), 0..120),
        b in prop::collection::vec(packet(), 0..120),
        c in prop::collection::vec(packet(), 0..120),
    ) {
        let [a, b, c] = [state(&a), state(&b), state(&c)];
        let all = merged(&[&a, &b, &c]);
        prop_assert_eq!(&merged(&[&c, &a, &b]), &all);
        prop_assert_eq!(&merged(&[&b, &a, &c]), &all);
        let (mut left, mut right) = (a.clone(), b.clone());
        left.merge(b.clone());
        left.merge(c.clone());
        right.merge(c);
        let mut grouped = a;
        grouped.merge(right);
        prop_assert_eq!(bytes(&mut left), bytes(&mut grouped));
    }

    #[test]
    fn whatever_was_seen_can_be_judged(
        packets in prop::collection::vec((packet(), any::<u64>(), any::<u16>(), any::<u16>()), 0..200),
        wild in any::<bool>(),
    ) {
        let mut state = State::default();
        for (mut packet, time, port, id) in packets {
            if wild {
                (packet.time, packet.port, packet.id) = (time, port, id);
            }
            state.observe(&packet);
        }
        state.settle();
        let mut scratch = Scratch::default();
        for effort in [Effort::Normal, Effort::Deep] {
            let terms = Terms { attacker: Attacker::default(), effort, min_entropy: true };
            let mut judged: Vec<_> =
                state.resolvers().map(|one| Box::new(judge(&one, terms, &mut scratch))).collect();
            control(&mut judged, terms.attacker);
        }
    }

    #[test]
    fn states_come_back_from_files(packets in prop::collection::vec(packet(), 0..200)) {
        let mut state = state(&packets);
        let written = bytes(&mut state);
        let mut read = State::default();
        read.merge_file(&written[..]).unwrap();
        prop_assert_eq!(bytes(&mut read), written);
    }

    #[test]
    fn hostile_files_give_an_error_and_no_panic(
        packets in prop::collection::vec(packet(), 1..40),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut damaged = bytes(&mut state(&packets));
        let at = at.index(damaged.len());
        prop_assume!(damaged[at] != value);
        damaged[at] = value;
        prop_assert!(State::default().merge_file(&damaged[..]).is_err(), "byte {at} became {value}");
        prop_assert!(State::default().merge_file(&damaged[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn many_queries_of_many_clients_stay_bounded() {
    let query = |client: u32, n: u32| Event {
        time: u64::from(n) * 1_000_000,
        client: Address(u128::from(client)),
        server: Address(1),
        port: (n % 64_512) as u16,
        id: (n & 0xffff) as u16,
        question: n,
        kind: Kind::Query(QueryTraits::default()),
    };
    let mut one = State::default();
    for n in 0..80_000 {
        one.observe(&query(1, n));
    }
    let kept = one.resolvers().next().unwrap().samples.len();
    assert!((65_536..100_000).contains(&kept), "{kept}");
    one.settle();
    let resolver = one.resolvers().next().unwrap();
    assert_eq!(resolver.samples.len(), 65_536);
    assert_eq!(resolver.counters.queries, 80_000);
    // The earliest were kept.
    assert_eq!(resolver.samples.last().unwrap().time, 65_535 * 1_000_000);

    let mut many = State::default();
    for n in 0..50 {
        for client in 0..20_000 {
            many.observe(&query(client, n));
        }
    }
    many.settle();
    assert_eq!(many.resolvers().count(), 20_000);
    assert!(many.resolvers().all(|r| r.samples.len() == 50 && r.counters.queries == 50));
}

#[test]
fn other_files_are_told_apart_from_damaged_ones() {
    let read = |bytes: &[u8]| State::default().merge_file(bytes);
    assert!(matches!(read(b"something else entirely"), Err(StateError::NotAState)));
    assert!(matches!(read(b""), Err(StateError::NotAState)));
    let mut written = bytes(&mut State::default());
    assert!(read(&written).is_ok());
    written.truncate(written.len() - 1);
    assert!(matches!(read(&written), Err(StateError::Damaged(_))));
}
