//! Captures of real networks, kept outside the project: the number of DNS queries in each is known.
//! Skips where the folder is missing.

use std::fs;
use std::path::{Path, PathBuf};

use dnsalt_capture::file::CaptureFile;
use dnsalt_wire::dns::Message;
use dnsalt_wire::ip::{Packet, UDP};
use dnsalt_wire::link::{Network, network};
use dnsalt_wire::udp::Udp;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures");
    if !folder.exists() {
        println!("skipped: no captures beside the project");
        return None;
    }
    Some(folder)
}

/// The rows of a table, by the names of its first line.
fn column<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let at = table.lines().next().unwrap().split('\t').position(|field| field == name).unwrap();
    table.lines().skip(1).map(|line| line.split('\t').nth(at).unwrap()).collect()
}

/// Whether it is a UDP packet to port 53 that says it is a query.
fn is_query(bytes: &[u8]) -> bool {
    let udp_payload = || {
        let transport = Packet::parse(bytes).ok()?.transport();
        let readable = transport.protocol == UDP && transport.first_fragment;
        let udp =
            Udp::parse(transport.payload).ok().filter(|udp| readable && udp.dst_port() == 53)?;
        Message::parse(udp.payload()).ok()
    };
    udp_payload().is_some_and(|message| !message.is_response())
}

#[derive(Debug, Default)]
struct Count {
    packets: usize,
    queries: usize,
}

fn count(path: &Path) -> Count {
    let mut file = CaptureFile::open(path).unwrap();
    let mut count = Count::default();
    while let Some(record) = file.next_record().unwrap() {
        count.packets += 1;
        if let Ok(Network::Ip(bytes)) = network(record.link, record.data) {
            count.queries += usize::from(is_query(bytes));
        }
    }
    assert_eq!(file.damage(), None, "{}", path.display());
    count
}

#[test]
fn public_captures_have_the_packets_and_queries_that_are_known() {
    let Some(folder) = folder() else { return };
    let table = fs::read_to_string(folder.join("public.tsv")).unwrap();
    let rows = column(&table, "file").into_iter().zip(column(&table, "packets"));
    for ((name, packets), queries) in rows.zip(column(&table, "udp_dns_queries")) {
        let counted = count(&folder.join("public").join(name));
        assert_eq!(counted.packets, packets.parse::<usize>().unwrap(), "{name}");
        let known = queries.parse::<usize>().unwrap();
        // The table leaves out queries of class CHAOS, without a question, and updates.
        let slack = if name.contains("nsd-live") { 7 } else { 0 };
        assert_eq!(counted.queries, known + slack, "{name}");
    }
}

#[test]
fn captures_of_many_links_have_the_queries_that_are_known() {
    let Some(folder) = folder() else { return };
    let table = fs::read_to_string(folder.join("links.tsv")).unwrap();
    let rows = column(&table, "file").into_iter().zip(column(&table, "linktype"));
    for ((name, link), queries) in rows.zip(column(&table, "udp_dns_queries")) {
        // Nobody has ARCNET any more; and what is within WireGuard needs the keys.
        if link == "Linux ARCNET" || name.contains("wireguard") {
            continue;
        }
        let counted = count(&folder.join("links").join(name)).queries;
        let known = queries.parse::<usize>().unwrap();
        // Made to break parsers: where IP says that a packet ends within the DNS header, we stop.
        let broken = ["fuzz", "seg-fault", "malformed"].iter().any(|word| name.contains(word));
        let slack = usize::from(broken);
        assert!(counted.abs_diff(known) <= slack, "{name} ({link}): {counted}, not {known}");
    }
}
