//! What fuzzers run: each parser, and the salt engine, on any bytes. A target panics where something is wrong.
//!
//! `./x fuzz` runs them under libFuzzer for as long as one likes; the tests of this crate run them for a moment,
//! on the seeds of `fuzz/seeds`, on what was once wrong (`fuzz/regressions`), and on both with bytes changed.

use std::io::Cursor;
use std::net::IpAddr;

use dnsalt_audit::state::State;
use dnsalt_capture::file::CaptureFile;
use dnsalt_policy::Settings;
use dnsalt_salt::head::{self, HEAD, Head};
use dnsalt_salt::question::question;
use dnsalt_serve::Bare;
use dnsalt_wire::dns::Message;
use dnsalt_wire::ip::{self, Packet};
use dnsalt_wire::link::{LinkType, Network, network};
use dnsalt_wire::tcp::Tcp;
use dnsalt_wire::udp::Udp;

/// The reader of requests that the metrics' server has: a part of the command, which is no library.
#[path = "../../dnsalt/src/metrics/server/request.rs"]
#[allow(dead_code)] // its refusal of those that are slow
mod request;

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("captures", captures),
    ("packets", packets),
    ("messages", messages),
    ("states", states),
    ("settings", settings),
    ("listings", listings),
    ("events", events),
    ("engine", engine),
    ("answers", answers),
    ("requests", requests),
];

/// The target with this name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> fn(&[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no target {name}")).1
}

/// Capture files: pcap, pcapng, plain or compressed; with every packet in them.
fn captures(bytes: &[u8]) {
    let stream = Cursor::new(bytes.to_vec());
    let Ok(mut file) = CaptureFile::of_stream("stream", stream) else { return };
    let mut read = 0;
    while let Ok(Some(record)) = file.next_record() {
        read += 1;
        frame(record.link, record.data);
        // Compression makes much of little.
        if read == 10_000 {
            return;
        }
    }
}

/// A frame: the link type in two bytes, then what is on the wire.
fn packets(bytes: &[u8]) {
    let Some((link, data)) = bytes.split_first_chunk::<2>() else { return };
    frame(LinkType(u16::from_be_bytes(*link)), data);
}

fn frame(link: LinkType, data: &[u8]) {
    let Ok(Network::Ip(packet)) = network(link, data) else { return };
    both_see_the_same(packet);
    let Ok(packet) = Packet::parse(packet) else { return };
    let carried = packet.transport();
    if let Ok(udp) = Udp::parse(carried.payload) {
        messages(udp.payload());
    }
    if let Ok(segment) = Tcp::parse(carried.payload)
        && let Some(message) = dnsalt_wire::dns::tcp_payload(segment.payload())
    {
        messages(message);
    }
}

/// What the salt engine sees in a packet, others see as well.
fn both_see_the_same(packet: &[u8]) {
    let length = packet.len().min(HEAD);
    let head = Head::of(packet);
    let Some(seen) = head::ip(&head, 0, length) else { return };
    let Some(dns) = head::dns(&head, &seen, length) else { return };
    if seen.later_fragment || seen.protocol != head::UDP {
        return;
    }
    let plain = Packet::parse(packet).expect("a packet that the engine can read");
    // To the engine an IPv4 address that IPv6 maps is that address.
    let addresses = [plain.src(), plain.dst()].map(|address| address.to_canonical());
    assert_eq!([seen.src, seen.dst].map(IpAddr::from), addresses);
    let carried = plain.transport();
    assert_eq!(carried.protocol, ip::UDP);
    let Ok(udp) = Udp::parse(carried.payload) else { return };
    assert_eq!((dns.src_port, dns.dst_port), (udp.src_port(), udp.dst_port()));
    let Ok(message) = Message::parse(udp.payload()) else { return };
    assert_eq!((dns.id, dns.is_reply()), (message.id(), message.is_response()));
    let asked = question(&head, &dns, [1, 2]);
    // A packet that is longer than the engine looks at may have a question that it does not see.
    if let Ok(question) = message.question()
        && packet.len() <= HEAD
        && asked.length != 0
    {
        assert_eq!(usize::from(asked.length), question.name.as_wire().len() + 4);
    }
}

/// DNS messages, with their names and options.
fn messages(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let _ = (message.id(), message.rcode(), message.opcode(), message.is_truncated());
    if let Ok(question) = message.question() {
        let text = question.name.to_string();
        assert!(text.ends_with('.') && !text.contains(char::is_control), "{text:?}");
        let letters = question.name.letters();
        assert!(letters.upper <= letters.letters);
    }
    if let Some(edns) = message.edns() {
        let _ = (edns.cookie(), edns.option(10), edns.option(3));
    }
}

/// State files of `check`: what can be read can be written, and is the same when it is read again.
fn states(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    let mut state = State::default();
    let read =
        if how & 1 == 0 { state.merge_file(rest) } else { state.merge_file(&block(rest)[..]) };
    if read.is_err() {
        return;
    }
    let written = file_of(&mut state);
    let mut again = State::default();
    again.merge_file(&written[..]).expect("what was written can be read");
    assert_eq!(file_of(&mut again), written);
}

fn file_of(state: &mut State) -> Vec<u8> {
    let mut file = Vec::new();
    state.write(&mut file).expect("memory to write to");
    file
}

/// A state file with this one block, whose checksum is right: nobody gets that by chance.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut file = file_of(&mut State::default());
    let end = file.split_off(file.len() - 12);
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    file.extend_from_slice(bytes);
    file.extend_from_slice(&end[..4]);
    file.extend_from_slice(&1_u64.to_le_bytes());
    file
}

/// Configurations: what is a policy is one still after it was written down.
fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(settings) = toml::from_str::<Settings>(text) else { return };
    let Ok(policy) = settings.clone().resolve() else { return };
    let written = toml::to_string(&settings).expect("settings can be written");
    let again: Settings = toml::from_str(&written).expect("what was written can be read");
    assert_eq!(again.resolve().expect("the same policy").digest(), policy.digest());
}

/// Listings of nft and of iptables-save.
fn listings(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        dnsalt_nat::driver::read_any(text);
    }
}

/// Entries of the ring in which the engine tells what happens.
fn events(bytes: &[u8]) {
    if let Some(told) = dnsalt_bpf::read_event(bytes) {
        assert!(told.packet.len() <= HEAD);
    }
}

/// Events, as `dnsalt_model::script` reads them: the kernel half, on the host, against the reference model.
fn engine(bytes: &[u8]) {
    if let Err(wrong) = dnsalt_model::policies::play(bytes) {
        panic!("{wrong}");
    }
}

/// Queries to `serve`, the first byte telling how they come: whoever is not known gets no more than is said.
fn answers(bytes: &[u8]) {
    thread_local! {
        static SERVER: Bare = Bare::default();
    }
    let Some((how, query)) = bytes.split_first() else { return };
    let tcp = how & 1 != 0;
    // Nobody guesses a token: with this bit the name of a test that was given out takes the place of `~`.
    let query =
        if how & 2 == 0 { query.to_vec() } else { SERVER.with(|one| with_token(query, one)) };
    SERVER.with(|server| {
        let Some(reply) = server.answer(&query, tcp) else { return };
        assert!(tcp || reply.len() <= query.len() + Bare::GROWTH, "{} bytes", reply.len());
        assert_eq!(reply[..2], query[..2], "another ID");
        assert!(Message::parse(&reply).expect("a message").is_response());
    });
}

/// Labels of a name that was given out, in place of the first tilde.
fn with_token(query: &[u8], server: &Bare) -> Vec<u8> {
    let Some(at) = query.iter().position(|byte| *byte == b'~') else { return query.to_vec() };
    let labels = server.name(usize::from(!query.len().is_multiple_of(4)));
    [&query[..at], &labels, &query[at + 1..]].concat()
}

/// Requests to the metrics' server, in pieces as long as the first byte says: however they come, they are the same.
fn requests(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let whole = read_request([bytes]);
    assert_eq!(read_request(bytes.chunks(usize::from(*size).max(1))), whole, "in pieces");
    let Ok(Some(request)) = whole else { return };
    assert!(request.path.starts_with('/') || request.path == "*", "{request:?}");
    assert!(request.path.bytes().all(|byte| byte.is_ascii_graphic()), "{request:?}");
    let readable = |letter: char| letter == '\t' || !letter.is_ascii_control();
    assert!(request.accept.chars().all(readable), "{request:?}");
}

/// None where it is not complete.
fn read_request<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<request::Request>, request::Refusal> {
    let mut head = request::Head::default();
    for piece in pieces {
        if head.take(piece)? {
            return head.parse().map(Some);
        }
    }
    Ok(None)
}
