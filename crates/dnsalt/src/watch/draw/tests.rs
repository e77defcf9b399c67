//! Pictures of models that were made up: a busy gateway, one under attack, one with NAT, one without
//! anything. `INSTA_UPDATE=always` writes them anew; look at what changed.

use dnsalt_audit::event::{Address, Event, Kind, QueryTraits, ReplyTraits};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::watch::history::SECOND;
use crate::watch::keys::Key;
use crate::watch::sample::{Bits, Protection, Room, Sample, Seen};

/// 2026-02-03 04:05:06 UTC.
const START: u64 = 1_770_091_506;
/// For how long it was watched.
const WATCHED: u64 = 240;

const UNICODE: Theme = Theme { colour: true, unicode: true };

/// Numbers that are good enough to be taken for random (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % limit
    }

    fn short(&mut self, limit: u64) -> u16 {
        u16::try_from(self.below(limit)).unwrap()
    }
}

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

/// A gateway whose clients ask some servers: how it is after four minutes.
struct Story {
    model: Model,
    random: Random,
    salted: bool,
    /// The next query ID of who counts them up.
    id: u16,
}

impl Story {
    fn new(protection: Protection) -> Self {
        let names = ["lan0", "wan0"].map(str::to_owned);
        let mut model = Model::new("gateway".to_owned(), &names, START * SECOND, 1);
        let salted = protection.engine.is_some();
        model.feed(Sample::Protection(Ok(Box::new(protection))));
        Story { model, random: Random(7), salted, id: 0 }
    }

    /// So many queries in this second, most of them answered, and so many forged replies.
    fn second(&mut self, second: u64, queries: u64, forged: u64) {
        let time = (START + second) * SECOND;
        let mut packets = Vec::new();
        for n in 0..queries {
            let query = self.query(time + n * (SECOND / queries));
            packets.push(Seen { event: query, outgoing: true });
            if self.random.below(100) < 99 {
                let kind = Kind::Reply(ReplyTraits::default(), false);
                let event = Event { time: query.time + SECOND / 50, kind, ..query };
                packets.push(Seen { event, outgoing: false });
            }
        }
        for n in 0..forged {
            packets.push(self.forged(time + n * (SECOND / forged)));
        }
        packets.sort_by_key(|seen| seen.event.time);
        self.model.feed(Sample::Packets(packets));
        self.model.tick((START + second + 1) * SECOND);
    }

    fn query(&mut self, time: u64) -> Event {
        // The lower, the more often.
        let skewed = |random: &mut Random, limit| {
            let (a, b) = (random.below(limit), random.below(limit));
            a.min(b) * random.below(4) / 3
        };
        let client = match skewed(&mut self.random, 24) {
            5 => address("2001:db8:7a5:10:5054:ff:fe12:3456"),
            n => Address(address("10.0.0.10").0 + u128::from(n)),
        };
        let servers = ["192.0.2.53", "198.51.100.53", "2001:db8:53::53", "203.0.113.9"];
        let server = address(servers[usize::try_from(skewed(&mut self.random, 4)).unwrap()]);
        self.id = self.id.wrapping_add(331);
        let (port, id) = if self.salted {
            (1024 + self.random.short(64_512), self.random.short(65_536))
        } else {
            // A resolver of old: a fixed port, and IDs that are counted up.
            (32_768, self.id)
        };
        let question = u32::try_from(self.random.below(1 << 32)).unwrap();
        Event {
            time,
            client,
            server,
            port,
            id,
            question,
            kind: Kind::Query(QueryTraits::default()),
        }
    }

    fn forged(&mut self, time: u64) -> Seen {
        let (client, server) = (address("10.0.0.10"), address("192.0.2.53"));
        let port = if self.salted { self.random.short(65_536) } else { 32_768 };
        let (id, question) = (self.random.short(65_536), 1);
        let kind = Kind::Reply(ReplyTraits::default(), false);
        Seen { event: Event { time, client, server, port, id, question, kind }, outgoing: false }
    }

    /// Four minutes of a morning.
    fn usual(mut self) -> Self {
        for second in 0..WATCHED {
            // It rises and falls every four minutes.
            let wave = second.abs_diff(WATCHED / 2) * second.abs_diff(WATCHED / 2) / 120;
            let queries = 180 - wave + self.random.below(30);
            self.second(second, queries, 0);
        }
        self
    }

    /// The last of them under attack.
    fn attacked(mut self) -> Self {
        for second in 0..WATCHED {
            let queries = 90 + self.random.below(30);
            self.second(second, queries, if second > 150 { 2000 } else { 0 });
            if self.salted && second == 155 {
                self.model.feed(Sample::Protection(Ok(Box::new(hit()))));
            }
        }
        self
    }

    fn view(&self, width: u16, height: u16, keys: &str) -> TestBackend {
        self.drawn(width, height, keys, UNICODE)
    }

    fn drawn(&self, width: u16, height: u16, keys: &str, theme: Theme) -> TestBackend {
        let mut view = View::default();
        view.roomy = is_roomy(Size { width, height });
        for key in keys.chars() {
            view.press(Key::Sign(key), &mut self.model.clone());
        }
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view.of(&self.model), &view, theme)).unwrap();
        terminal.backend().clone()
    }
}

fn salt() -> Protection {
    Protection {
        whole: true,
        engine: Some("salt"),
        backend: Some("tcx".to_owned()),
        since: Some(START - 8000),
        scope: Some("udp port 53, leaving any interface but lo".to_owned()),
        bits: Some(Bits { now: 31.98, worst: 31.98, note: "after one near miss only over TCP" }),
        dropped: vec![(0, "forged"), (0, "near misses"), (21, "late or twice")],
        lockdowns: Some(0),
        room: Some(Room::Slots(524_288)),
        lifetime: Some(5),
        ..Protection::default()
    }
}

fn nat() -> Protection {
    Protection {
        whole: true,
        engine: Some("nat"),
        backend: Some("nft".to_owned()),
        since: Some(START - 400_000),
        scope: Some("udp and tcp port 53, leaving wan0".to_owned()),
        bits: Some(Bits { now: 9.6, worst: 0.0, note: "the port, drawn for every query" }),
        dropped: vec![(1_204, "belonged to no query")],
        room: Some(Room::Conntrack { entries: 54_210, max: 65_536 }),
        ..Protection::default()
    }
}

/// What the kernel would say after the attack.
fn hit() -> Protection {
    let dropped = vec![(177_412, "forged"), (588, "near misses"), (21, "late or twice")];
    Protection { dropped, lockdowns: Some(2), ..salt() }
}

#[test]
fn a_quiet_morning_with_salt() {
    let story = Story::new(salt()).usual();
    insta::assert_snapshot!("salt-80x24", story.view(80, 24, ""));
    insta::assert_snapshot!("salt-80x24-tops", story.view(80, 24, "2"));
    insta::assert_snapshot!("salt-80x24-forged", story.view(80, 24, "3"));
    insta::assert_snapshot!("salt-80x24-help", story.view(80, 24, "?"));
    insta::assert_snapshot!("salt-120x40", story.view(120, 40, ""));
    insta::assert_snapshot!("salt-80x60-paused", story.view(80, 60, " "));
}

#[test]
fn an_attack_on_salt() {
    let story = Story::new(salt()).attacked();
    insta::assert_snapshot!("attack-80x24", story.view(80, 24, "3"));
    insta::assert_snapshot!("attack-120x40", story.view(120, 40, ""));
}

#[test]
fn an_attack_in_the_name_of_everybody() {
    let mut story = Story::new(salt()).usual();
    let time = (START + WATCHED) * SECOND;
    let mut spoofed = |n: u32| {
        let server = Address(address("100.64.0.0").0 + u128::from(n));
        let forged = story.forged(time);
        Seen { event: Event { server, ..forged.event }, ..forged }
    };
    let packets = (0..2000).map(&mut spoofed).collect();
    story.model.feed(Sample::Packets(packets));
    insta::assert_snapshot!("spoofed-80x24", story.view(80, 24, "3"));
}

#[test]
fn nat_near_its_end() {
    let mut story = Story::new(nat()).usual();
    let bits = Bits { now: 11.2, worst: 0.0, note: "the port, drawn for every query" };
    let later = Protection { bits: Some(bits), ..nat() };
    story.model.feed(Sample::Protection(Ok(Box::new(later))));
    insta::assert_snapshot!("nat-80x24", story.view(80, 24, ""));
    insta::assert_snapshot!("nat-120x40", story.view(120, 40, ""));
}

#[test]
fn nothing_installed_and_a_resolver_of_old() {
    let story = Story::new(Protection::default()).attacked();
    insta::assert_snapshot!("none-80x24", story.view(80, 24, ""));
    insta::assert_snapshot!("none-120x40", story.view(120, 40, ""));
}

#[test]
fn problems_come_first() {
    let problems = vec![
        "the rules are gone: something flushed them (a firewall that reloads does); run `dnsalt up` again"
            .to_owned(),
    ];
    let mut story = Story::new(Protection { whole: false, problems, ..salt() });
    let why = "wan0: the interface is down; `ip link set wan0 up` brings it up".to_owned();
    story.model.feed(Sample::Interface("wan0".to_owned(), Some(why)));
    story.model.feed(Sample::Missed(1204));
    insta::assert_snapshot!("damaged-80x24", story.view(80, 24, ""));
}

#[test]
fn small_terminals_are_told() {
    let story = Story::new(salt()).usual();
    insta::assert_snapshot!("small-60x12", story.view(60, 12, ""));
    // Whatever the size: no panic.
    for (width, height) in [(1, 1), (2, 3), (79, 24), (80, 23), (300, 24), (80, 200), (400, 120)] {
        for keys in ["", "2", "3", "?"] {
            story.view(width, height, keys);
        }
    }
}

#[test]
fn without_unicode_and_colour_it_is_ascii() {
    let story = Story::new(salt()).usual();
    let plain = Theme { colour: false, unicode: false };
    let backend = story.drawn(120, 40, "", plain);
    for cell in &backend.buffer().content {
        assert!(cell.symbol().is_ascii(), "{}", cell.symbol());
        let colour = ratatui::style::Color::Reset;
        assert_eq!((cell.fg, cell.bg), (colour, colour));
    }
    insta::assert_snapshot!("ascii-80x24", story.drawn(80, 24, "", plain));
}
