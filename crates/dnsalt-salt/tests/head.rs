//! The parser with masked offsets gives the same answers as the views of `dnsalt-wire`.

use std::net::IpAddr;

use dnsalt_salt::head::{self, HEAD, Head};
use dnsalt_wire::ip::{self, Packet};
use dnsalt_wire::udp::Udp;
use proptest::prelude::*;

/// Packets that are right as a rule, with some bytes changed.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let v4 = (5_u8..9, any::<[u8; 8]>(), prop_oneof![8 => Just(0_u16), 1 => any::<u16>()]);
    let v4 = v4.prop_map(|(words, addresses, fragment)| {
        let mut packet = vec![0_u8; usize::from(words) * 4];
        (packet[0], packet[9]) = (0x40 | words, 17);
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[12..20].copy_from_slice(&addresses);
        packet
    });
    let headers = proptest::collection::vec(
        (
            prop_oneof![Just(0_u8), Just(43), Just(60), Just(44), Just(51), Just(135)],
            any::<[u8; 7]>(),
        ),
        0..4,
    );
    let v6 = (headers, any::<[u8; 32]>()).prop_map(|(headers, addresses)| {
        let mut packet = vec![0_u8; 40];
        packet[0] = 0x60;
        packet[8..40].copy_from_slice(&addresses);
        let mut next = 6;
        for (kind, bytes) in headers {
            packet[next] = kind;
            next = packet.len();
            packet.push(17);
            packet.extend_from_slice(&bytes);
            // Eight bytes each; a fragment header's second byte is reserved.
            packet[next + 1] = 0;
        }
        packet[next] = 17;
        packet
    });
    let changes = proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 0..3);
    let body = proptest::collection::vec(any::<u8>(), 0..80);
    (prop_oneof![v4, v6], body, changes, any::<bool>()).prop_map(
        |(mut packet, body, changes, udp)| {
            let length = u16::try_from(body.len()).unwrap();
            if udp && body.len() >= 8 {
                let mut body = body;
                body[4..6].copy_from_slice(&length.to_be_bytes());
                packet.extend_from_slice(&body);
            } else {
                packet.extend_from_slice(&body);
            }
            let total = u16::try_from(packet.len()).unwrap();
            if packet[0] >> 4 == 4 {
                packet[2..4].copy_from_slice(&total.to_be_bytes());
            } else {
                packet[4..6].copy_from_slice(&(total - 40).to_be_bytes());
            }
            for (at, byte) in changes {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            packet
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn both_parsers_agree(packet in packets()) {
        let length = packet.len().min(HEAD);
        let seen = Head::of(&packet);
        let ours = head::ip(&seen, 0, length);
        let (Some(ours), Ok(theirs)) = (ours, Packet::parse(&packet)) else {
            // Theirs is content with less here and there; where ours sees UDP, so must theirs.
            let sees_dns = ours.is_some_and(|ip| {
                ip.protocol == head::UDP && !ip.later_fragment && head::dns(&seen, &ip, length).is_some()
            });
            prop_assert!(!sees_dns);
            return Ok(());
        };
        let transport = theirs.transport();
        prop_assert_eq!(IpAddr::from(ours.src), theirs.src());
        prop_assert_eq!(IpAddr::from(ours.dst), theirs.dst());
        prop_assert_eq!(ours.protocol, transport.protocol);
        prop_assert_eq!(ours.later_fragment, !transport.first_fragment);
        if ours.protocol != ip::UDP || ours.later_fragment {
            return Ok(());
        }
        if let Some(dns) = head::dns(&seen, &ours, length) {
            let udp = Udp::parse(transport.payload).unwrap();
            prop_assert_eq!((dns.src_port, dns.dst_port), (udp.src_port(), udp.dst_port()));
            prop_assert_eq!(&packet[dns.message..dns.message + 12], &udp.payload()[..12]);
        }
    }

    #[test]
    fn bytes_are_read_where_they_stand(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0_usize..500) {
        let seen = Head::of(&bytes);
        let byte = |at: usize| if at < HEAD { bytes.get(at).copied().unwrap_or(0) } else { 0 };
        prop_assert_eq!(seen.byte(at), byte(at));
        let word = (0..8).rev().fold(0_u64, |word, i| word << 8 | u64::from(byte(at + i)));
        prop_assert_eq!(seen.word(at), word);
        prop_assert_eq!(seen.be16(at), u16::from_be_bytes([byte(at), byte(at + 1)]));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0_usize..600) {
        let seen = Head::of(&bytes);
        let length = bytes.len().min(HEAD);
        if let Some(ip) = head::ip(&seen, at, length)
            && let Some(dns) = head::dns(&seen, &ip, length)
        {
            let _ = dnsalt_salt::question::question(&seen, &dns, [1, 2]);
        }
    }
}
