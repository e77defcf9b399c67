//! Frames and packets go through links as they are.

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use dnsalt_lab::actor::{Frames, Tun};
use dnsalt_lab::{Host, link};

const PATIENCE: Duration = Duration::from_secs(5);

/// The next frame of one of our types.
fn next(frames: &Frames) -> Vec<u8> {
    loop {
        let frame = frames.next(PATIENCE).unwrap().expect("a frame within 5 seconds");
        if [[0x88, 0xb5], [0x81, 0x00], [0x88, 0xa8]].contains(&[frame[12], frame[13]]) {
            return frame;
        }
    }
}

#[test]
fn frames_arrive_as_they_were_sent() {
    if !common::can_run() {
        return;
    }
    let (a, b) = (Host::new("a").unwrap(), Host::new("b").unwrap());
    link((&a, "eth0"), (&b, "eth0")).unwrap();
    let (one, other) = (Frames::open(&a, "eth0").unwrap(), Frames::open(&b, "eth0").unwrap());
    for tags in [&[][..], &[0x81, 0, 0x20, 7], &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7]] {
        // For local experiments (IEEE 802).
        let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], tags, &[0x88, 0xb5], &[7; 60]].concat();
        one.send(&frame).unwrap();
        assert_eq!(next(&other), frame);
    }
    // What a host sends is not what comes in there.
    one.send(&[&[2; 12][..], &[0x88, 0xb5, 1]].concat()).unwrap();
    other.send(&[&[2; 12][..], &[0x88, 0xb5, 2]].concat()).unwrap();
    assert_eq!(next(&one)[14], 2);
    assert!(Frames::open(&a, "eth9").is_err());
}

#[test]
fn whoever_holds_a_tun_link_is_its_other_end() {
    if !common::can_run() {
        return;
    }
    let host = Host::new("a").unwrap();
    let tun = Tun::new(&host, "tun0").unwrap();
    host.sysctl("net/ipv6/conf/tun0/disable_ipv6", "1").unwrap();
    host.address("tun0", "10.9.0.1/24").unwrap();
    host.up("tun0").unwrap();
    let socket = host.run(|| UdpSocket::bind("10.9.0.1:7").unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"ping", "10.9.0.2:9").unwrap();
    let packet = tun.next(PATIENCE).unwrap().unwrap();
    assert_eq!(
        (packet[0], packet[9], &packet[12..20]),
        (0x45, 17, &[10, 9, 0, 1, 10, 9, 0, 2][..])
    );
    assert_eq!(&packet[28..], b"ping");
    // Sent back: addresses and ports change places, which leaves all sums as they are.
    let swapped =
        [&packet[..12], &packet[16..20], &packet[12..16], &packet[22..24], &packet[20..22]];
    tun.send(&[&swapped.concat(), &packet[24..]].concat()).unwrap();
    let mut buffer = [0; 9];
    assert_eq!(socket.recv_from(&mut buffer).unwrap(), (4, "10.9.0.2:9".parse().unwrap()));
    assert!(tun.next(Duration::from_millis(20)).unwrap().is_none());
}
