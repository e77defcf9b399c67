//! Rows of an extract give what the state of the audit gives, in whatever order they come.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dnsalt_audit::attack::Attacker;
use dnsalt_audit::event::{Address, Event, Kind, QueryTraits, ReplyTraits};
use dnsalt_audit::judge::Scratch;
use dnsalt_audit::judgement::{Judged, Limits, Terms, control, judge};
use dnsalt_audit::predict::Effort;
use dnsalt_audit::state::{Collected, Extractor, Row, SHARDS, State};
use proptest::prelude::*;

const TERMS: Terms = Terms {
    attacker: Attacker { rate: 125_000.0, servers: 1.0 },
    effort: Effort::Normal,
    min_entropy: false,
};
/// Nanoseconds between one packet and the next: at once, soon, and beyond all patience.
const GAPS: [u64; 6] = [0, 1_000, 2_000_000, 900_000_000, 11_000_000_000, 45_000_000_000];

/// A packet of few clients, servers, ports, IDs and questions, so that much of it meets.
fn packet() -> impl Strategy<Value = (u64, Event)> {
    let who = (0..5_u8, 0..4_u8, 0..3_u16, 0..3_u16, 0..2_u32);
    let what = (0..10_u8, any::<bool>(), any::<bool>(), any::<bool>());
    (0..GAPS.len() * 3, who, what).prop_map(|(gap, who, what)| {
        let (client, server, port, id, question) = who;
        let (kind, truncated, cookie, fragmented) = what;
        let address = |a, d| Address::from(IpAddr::from([192, 0, a, d]));
        let cookie = cookie.then_some([client; 8]);
        let kind = match kind {
            0..5 => Kind::Query(QueryTraits {
                letters: 12,
                upper: u8::try_from(question).unwrap() * 6,
                edns: truncated.then_some(1232),
                dnssec_ok: fragmented,
                cookie: cookie.filter(|_| truncated),
            }),
            5..8 => Kind::Reply(
                ReplyTraits { truncated, questionless: id == 2 && truncated, cookie },
                fragmented,
            ),
            8 => Kind::TcpOpened,
            _ => Kind::TcpQuery,
        };
        // Most come soon.
        let gap = GAPS[gap.min(GAPS.len() * 3 - 1) / 3 % GAPS.len()].min(GAPS[gap % 4 + 2]);
        let event = Event {
            time: 0,
            client: address(2, client),
            server: address(0, server),
            port: 4000 + port,
            id,
            question,
            kind,
        };
        (gap, event)
    })
}

fn timed(packets: Vec<(u64, Event)>) -> Vec<Event> {
    let mut time = 1_800_000_000_000_000_000;
    let at = |(gap, event): (u64, Event)| {
        time += gap;
        Event { time, ..event }
    };
    packets.into_iter().map(at).collect()
}

fn by_state(events: &[Event]) -> Vec<Judged> {
    let mut state = State::default();
    for event in events {
        state.observe(event);
    }
    state.settle();
    let mut scratch = Scratch::default();
    let asked = state.resolvers().filter(|r| r.counters.queries + r.counters.tcp_queries > 0);
    let mut judged: Vec<_> = asked.map(|one| judge(&one, TERMS, &mut scratch)).collect();
    judged.sort_by_key(|one| one.address);
    judged
}

fn rows(events: &[Event]) -> Vec<Row> {
    let mut rows = Vec::new();
    for shard in 0..SHARDS {
        let own: Vec<Event> =
            events.iter().filter(|event| event.shard() == shard).copied().collect();
        let numbers: Vec<usize> = (0..own.len()).collect();
        let mut extractor = Extractor::default();
        let mut emit = |row: &Row, number: usize| {
            assert_eq!(row.time, own[number].time, "what goes with a packet stays with it");
            rows.push(*row);
        };
        // However many come together.
        for (events, numbers) in own.chunks(7).zip(numbers.chunks(7)) {
            extractor.observe_all(events, numbers, &mut emit);
        }
        extractor.finish(&mut emit);
    }
    rows
}

fn by_rows(rows: &[Row]) -> Vec<Judged> {
    let mut by_resolver = BTreeMap::<Address, Vec<&Row>>::new();
    for row in rows {
        by_resolver.entry(row.resolver).or_default().push(row);
    }
    let (mut collected, mut scratch) = (Collected::default(), Scratch::default());
    let mut judged = Vec::new();
    for rows in by_resolver.values() {
        for row in rows {
            collected.add(row);
        }
        collected.take(|one| {
            if one.counters.queries + one.counters.tcp_queries > 0 {
                judged.push(judge(one, TERMS, &mut scratch));
            }
        });
    }
    judged.sort_by_key(|one| one.address);
    judged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rows_in_any_order_give_what_the_packets_gave(
        packets in prop::collection::vec(packet(), 1..400),
        seed in any::<u64>(),
    ) {
        let events = timed(packets);
        let mut rows = rows(&events);
        // Some order or other.
        rows.sort_by_key(|row| (row.time ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (expected, mut found) = (by_state(&events), by_rows(&rows));
        prop_assert_eq!(&found, &expected);
        let mut expected: Vec<_> = expected.into_iter().map(Box::new).collect();
        control(&mut expected, TERMS.attacker);
        // Each weighed by itself first, and then by what all give.
        let loose = Limits { overall: f64::INFINITY, servers: f64::INFINITY };
        for one in &mut found {
            one.weigh(loose, TERMS.attacker);
        }
        let (mut overall, mut servers) = (Vec::new(), Vec::new());
        for (of_all, of_servers) in found.iter().map(Judged::chances) {
            overall.extend(of_all);
            servers.extend(of_servers);
        }
        let limits = Limits::of(overall, servers);
        for (mut one, expected) in found.into_iter().zip(expected) {
            let text = serde_json::to_string(&one).unwrap();
            one = serde_json::from_str(&text).unwrap();
            one.weigh(limits, TERMS.attacker);
            prop_assert_eq!(one, *expected);
        }
    }
}
