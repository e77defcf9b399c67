//! Capture files, made here byte by byte: every format, whole, compressed, cut and damaged.

use std::io::Write as _;

use dnsalt_capture::file::{CaptureFile, FileError, Stretch};
use dnsalt_wire::link::LinkType;
use proptest::prelude::*;

/// What a record is compared by.
type Seen = (u64, u16, Vec<u8>, u32);

const TIME: u64 = 1_700_000_000_123_456_789;

fn number(big: bool, value: u32) -> [u8; 4] {
    if big { value.to_be_bytes() } else { value.to_le_bytes() }
}

fn pcap(big: bool, nanoseconds: bool, link: u32, packets: &[&[u8]]) -> Vec<u8> {
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = Vec::new();
    for value in [magic, 0x0004_0002, 0, 0, 65_535, link] {
        file.extend(number(big, value));
    }
    for packet in packets {
        let fraction = if nanoseconds { 123_456_789 } else { 123_456 };
        let length = u32::try_from(packet.len()).unwrap();
        for value in [1_700_000_000, fraction, length, length + 10] {
            file.extend(number(big, value));
        }
        file.extend(*packet);
    }
    file
}

fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = number(big, u32::try_from(padded + 12).unwrap());
    let mut block = [&number(big, kind)[..], &length, body].concat();
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

fn section(big: bool) -> Vec<u8> {
    let body = [&number(big, 0x1a2b_3c4d)[..], &number(big, 1), &[0xff; 8]].concat();
    block(big, 0x0a0d_0d0a, &body)
}

/// An interface whose clock counts nanoseconds since `offset` seconds after 1970.
fn interface(big: bool, link: u16, offset: u64) -> Vec<u8> {
    let short = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = if big { offset.to_be_bytes() } else { offset.to_le_bytes() };
    let body = [
        &short(link)[..],
        &short(0),
        &number(big, 4),
        &short(9),
        &short(1),
        &[9, 0, 0, 0],
        &short(14),
        &short(8),
        &long,
        &short(0),
        &short(0),
    ]
    .concat();
    block(big, 1, &body)
}

fn enhanced(big: bool, interface: u32, time: u64, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let (high, low) = (u32::try_from(time >> 32).unwrap(), (time & 0xffff_ffff) as u32);
    let mut body: Vec<u8> = [interface, high, low, length, length + 10]
        .into_iter()
        .flat_map(|v| number(big, v))
        .collect();
    body.extend(data);
    block(big, 6, &body)
}

/// Sections of both byte orders, interfaces of different links, every kind of packet block.
fn pcapng() -> Vec<u8> {
    let mut file = Vec::new();
    for big in [false, true] {
        file.extend(section(big));
        file.extend(interface(big, 1, 0));
        file.extend(interface(big, 101, 1_000));
        file.extend(block(big, 0x0000_0bad, b"a block that nobody knows"));
        file.extend(enhanced(big, 0, TIME, b"first"));
        file.extend(enhanced(big, 1, TIME - 1_000_000_000_000, b"second"));
        file.extend(block(big, 3, &[&number(big, 99)[..], b"cut"].concat()));
    }
    file
}

fn expected_of_pcapng() -> Vec<Seen> {
    let one = [
        (TIME, 1, b"first".to_vec(), 15),
        (TIME, 101, b"second".to_vec(), 16),
        // Four bytes: the snaplen of the first interface; the last is padding.
        (0, 1, b"cut\0".to_vec(), 99),
    ];
    [one.clone(), one].concat()
}

/// All records, and what was wrong.
fn read(mut file: CaptureFile) -> (Vec<Seen>, Option<String>) {
    let mut seen = Vec::new();
    while let Some(record) = file.next_record().unwrap() {
        seen.push((record.time, record.link.0, record.data.to_vec(), record.wire_len));
    }
    assert!(file.next_record().unwrap().is_none(), "the end stays the end");
    (seen, file.damage().map(ToString::to_string))
}

fn on_disk(bytes: &[u8]) -> Result<CaptureFile, FileError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    CaptureFile::open(file.path())
}

fn as_stream(bytes: &[u8]) -> Result<CaptureFile, FileError> {
    CaptureFile::of_stream("standard input", std::io::Cursor::new(bytes.to_vec()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn pcap_in_every_variant() {
    for big in [false, true] {
        for nanoseconds in [false, true] {
            // The upper half of the link type speaks of the frame check sequence.
            let bytes = pcap(big, nanoseconds, 0x1400_0071, &[b"one", b"", b"three"]);
            let time = if nanoseconds { TIME } else { TIME / 1000 * 1000 };
            let expected = [&b"one"[..], b"", b"three"]
                .map(|data| (time, 113, data.to_vec(), u32::try_from(data.len()).unwrap() + 10));
            assert_eq!(read(on_disk(&bytes).unwrap()), (expected.to_vec(), None));
            assert_eq!(read(as_stream(&bytes).unwrap()), (expected.to_vec(), None));
        }
    }
}

#[test]
fn pcapng_with_sections_and_interfaces() {
    assert_eq!(read(on_disk(&pcapng()).unwrap()), (expected_of_pcapng(), None));
}

#[test]
fn compressed_files_are_told_by_their_bytes() {
    let plain = pcapng();
    let zstandard = zstd::encode_all(&plain[..], 1).unwrap();
    // Files of several members, as log rotation makes them by `cat`.
    let (start, end) = plain.split_at(100);
    let members = [gzip(start), gzip(end)].concat();
    for bytes in [gzip(&plain), zstandard, members] {
        assert_eq!(read(on_disk(&bytes).unwrap()), (expected_of_pcapng(), None));
        assert_eq!(read(as_stream(&bytes).unwrap()), (expected_of_pcapng(), None));
    }
}

/// Reads in rounds, and what they leave at the end.
fn read_in_rounds(mut file: CaptureFile, threads: usize, stretch: usize) -> Vec<Seen> {
    let work = |stretch: &mut Stretch<'_>| {
        let mut seen = Vec::new();
        while let Some(r) = stretch.next_record() {
            seen.push((r.time, r.link.0, r.data.to_vec(), r.wire_len));
        }
        seen
    };
    let mut all = Vec::new();
    while let Some(done) = file.round(threads, stretch, work) {
        all.extend(done.into_iter().flatten());
    }
    all.extend(read(file).0);
    all
}

#[test]
fn threads_see_what_one_reader_sees() {
    // Some packets are larger than any buffer is at first.
    let sizes = (0..3000_usize).map(|i| if i % 700 == 699 { 600_000 } else { 60 + i % 1200 });
    let packets: Vec<Vec<u8>> =
        sizes.zip((0..=255_u8).cycle()).map(|(size, byte)| vec![byte; size]).collect();
    let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    for (big, cut) in [(false, 0), (true, 0), (false, 7)] {
        let mut bytes = pcap(big, true, 1, &packets);
        bytes.truncate(bytes.len() - cut);
        let (expected, _) = read(on_disk(&bytes).unwrap());
        assert_eq!(expected.len(), packets.len() - usize::from(cut > 0));
        for (threads, stretch) in
            [(1, 1 << 20), (1, 4 << 20), (2, 1 << 20), (3, 1 << 20), (5, 4096)]
        {
            let seen = read_in_rounds(on_disk(&bytes).unwrap(), threads, stretch);
            assert!(seen == expected, "{threads} threads, {stretch} bytes");
        }
    }
}

#[test]
fn what_is_good_of_a_cut_file_is_read() {
    for whole in [pcap(false, true, 1, &[b"one", b"two", b"three"]), pcapng()] {
        let (all, _) = read(on_disk(&whole).unwrap());
        for cut in 24..whole.len() {
            for file in [on_disk(&whole[..cut]), as_stream(&whole[..cut])] {
                let (seen, damage) = read(file.unwrap());
                assert!(all.starts_with(&seen), "{cut}");
                if let Some(damage) = damage {
                    assert!(damage.contains("the file ends within a packet"), "{damage}");
                }
            }
        }
    }
    let compressed = gzip(&pcap(false, true, 1, &[&[7; 5000], &[8; 5000]]));
    let (_, damage) = read(on_disk(&compressed[..compressed.len() - 9]).unwrap());
    assert!(damage.unwrap().contains("the compression is damaged or cut short"));
}

#[test]
fn damage_says_where_and_how_much() {
    let mut bytes = pcap(false, false, 1, &[b"good", b"bad", b"lost"]);
    let second = 24 + 16 + 4;
    bytes[second + 8..second + 12].copy_from_slice(&[0xff; 4]);
    let (seen, damage) = read(on_disk(&bytes).unwrap());
    assert_eq!(seen.len(), 1);
    let expected =
        "damaged at byte 44: a packet of impossible length; the last 39 bytes were not read";
    assert_eq!(damage.as_deref(), Some(expected));
    let (_, damage) = read(as_stream(&bytes).unwrap());
    assert_eq!(damage.as_deref(), Some("damaged at byte 44: a packet of impossible length"));
    for (what, bytes) in [
        (
            "an interface that was not described",
            [section(false), enhanced(false, 0, 0, b"x")].concat(),
        ),
        ("impossible clock", {
            let mut bytes = [section(false), interface(false, 1, 0)].concat();
            let at = bytes.iter().rposition(|byte| *byte == 9).unwrap();
            bytes[at] = 100;
            bytes
        }),
        ("lengths differ", {
            let mut bytes = [section(false), interface(false, 1, 0)].concat();
            *bytes.last_mut().unwrap() = 1;
            bytes
        }),
    ] {
        let (seen, damage) = read(on_disk(&bytes).unwrap());
        assert!(seen.is_empty() && damage.as_ref().unwrap().contains(what), "{what}: {damage:?}");
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    for bytes in [&b""[..], b"abc", b"#!/bin/sh\n", &gzip(b"hello, world")] {
        assert!(matches!(on_disk(bytes), Err(FileError::NotACapture { .. })), "{bytes:?}");
    }
    let missing = CaptureFile::open(std::path::Path::new("/does/not/exist")).unwrap_err();
    assert!(missing.to_string().starts_with("/does/not/exist: "), "{missing}");
    assert!(matches!(missing, FileError::Io { .. }));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(
        which in 0..2, flips in proptest::collection::vec((0_usize..400, any::<u8>()), 0..12)
    ) {
        let mut bytes = if which == 0 { pcapng() } else { pcap(true, true, 1, &[b"one", b"two"]) };
        for (at, value) in flips {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        if let (Ok(mapped), Ok(streamed)) = (on_disk(&bytes), as_stream(&bytes)) {
            // Read where it lies or through a buffer, it is the same file.
            prop_assert_eq!(read(mapped).0, read(streamed).0);
        }
    }
}

#[test]
fn links_are_those_of_wire() {
    let file = on_disk(&pcap(false, false, 276, &[b"x"])).unwrap();
    assert_eq!(read(file).0[0].1, LinkType::LINUX_SLL2.0);
}
