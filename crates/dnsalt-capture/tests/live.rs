//! Captures in the kernel, each test in a network namespace of its own.
//!
//! The namespace is that of one thread and of the sockets opened in it; it goes when they go, so
//! that nothing is left to clean up. Without root the tests say so and pass.

#![allow(unsafe_code, reason = "unshare(2), and giving up root in one thread")]

use std::io;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use dnsalt_capture::{Direction, Live, OpenError, PortFilter};
use dnsalt_wire::ip::{Packet, TCP, UDP};
use dnsalt_wire::udp::Udp;

/// Two ends of one cable in the same namespace. Nobody has the addresses at its far end, so that
/// packets to them do leave.
const CABLE: &str = "
    ip link set dev lo up
    ip link add near address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02
    ip address add 192.0.2.1/24 dev near
    ip address add 2001:db8::1/64 dev near nodad
    ip link set dev near up
    ip link set dev far up
    ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev near nud permanent
    ip neighbour add 2001:db8::2 lladdr 02:00:00:00:00:02 dev near nud permanent
";

const LOOPBACK: &str = "ip link set dev lo up";

#[test]
fn sees_the_ports_asked_for_in_both_families_and_directions() {
    let before = SystemTime::now();
    let Some((mut near, mut far)) = in_namespace(CABLE, || {
        let captures = (open("near"), open("far"));
        for (from, to) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            for port in [54, 53, 5353] {
                send(from, to, port, format!("{to} {port}").as_bytes());
            }
        }
        captures
    }) else {
        return;
    };
    // Read out of another namespace than the packets are in.
    for (live, direction) in [(&mut near, Direction::Outgoing), (&mut far, Direction::Incoming)] {
        let seen = seen(live);
        let payloads: Vec<_> = seen.iter().map(|seen| seen.payload.as_slice()).collect();
        assert_eq!(payloads, [&b"192.0.2.2 53"[..], b"2001:db8::2 53"]);
        for seen in &seen {
            assert_eq!((seen.direction, seen.destination_port), (direction, 53));
            assert!(seen.time >= before && seen.time <= SystemTime::now(), "{:?}", seen.time);
        }
        assert_eq!(seen[0].source, "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(seen[1].source, "2001:db8::1".parse::<IpAddr>().unwrap());
        assert_eq!(live.drops().unwrap(), 0);
    }
}

#[test]
fn sees_the_first_fragment_only() {
    let Some(mut far) = in_namespace(CABLE, || {
        let far = open("far");
        send("192.0.2.1", "192.0.2.2", 53, &[0; 4000]);
        far
    }) else {
        return;
    };
    let seen = seen(&mut far);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].payload.len(), 1480 - 8);
}

#[test]
fn sees_each_packet_on_loopback_once() {
    let Some(mut live) = in_namespace(LOOPBACK, || {
        let live = open("lo");
        let server = UdpSocket::bind("127.0.0.1:53").unwrap();
        let client = UdpSocket::bind("127.0.0.1:44444").unwrap();
        client.send_to(b"query", "127.0.0.1:53").unwrap();
        server.send_to(b"response", "127.0.0.1:44444").unwrap();
        live
    }) else {
        return;
    };
    let seen = seen(&mut live);
    let payloads: Vec<_> = seen.iter().map(|seen| seen.payload.as_slice()).collect();
    assert_eq!(payloads, [&b"query"[..], b"response"]);
    assert_eq!((seen[0].destination_port, seen[1].destination_port), (53, 44444));
}

#[test]
fn sees_tcp() {
    let Some(mut live) = in_namespace(LOOPBACK, || {
        let live = open("lo");
        TcpStream::connect("127.0.0.1:54").unwrap_err();
        TcpStream::connect("127.0.0.1:53").unwrap_err();
        live
    }) else {
        return;
    };
    let mut count = 0;
    while let Some(frame) = live.next(Duration::ZERO).unwrap() {
        let transport = Packet::parse(frame.data).unwrap().transport();
        assert_eq!(transport.protocol, TCP);
        count += 1;
    }
    // The SYN and its refusal.
    assert_eq!(count, 2);
}

#[test]
fn waits_no_longer_than_told() {
    let Some(waited) = in_namespace(LOOPBACK, || {
        let mut live = open("lo");
        let start = SystemTime::now();
        assert!(live.next(Duration::from_millis(50)).unwrap().is_none());
        start.elapsed().unwrap()
    }) else {
        return;
    };
    assert!(waited >= Duration::from_millis(50) && waited < Duration::from_secs(5), "{waited:?}");
}

#[test]
fn waits_for_ever_when_told() {
    let Some(woken) = in_namespace(LOOPBACK, || {
        let mut live = open("lo");
        // This thread was made in the namespace and is in it.
        let sender = thread::spawn(|| {
            thread::sleep(Duration::from_millis(50));
            send("127.0.0.1", "127.0.0.1", 53, b"late");
        });
        let woken = live.next(Duration::MAX).unwrap().is_some();
        sender.join().unwrap();
        woken
    }) else {
        return;
    };
    assert!(woken);
}

#[test]
fn counts_what_is_lost() {
    const SENT: usize = 40_000;
    let Some(mut live) = in_namespace(LOOPBACK, || {
        let live = open("lo");
        let socket = UdpSocket::bind("127.0.0.1:44444").unwrap();
        for _ in 0..SENT {
            // A refusal of an earlier one is reported here.
            let _ = socket.send_to(&[0; 1000], "127.0.0.1:53");
        }
        live
    }) else {
        return;
    };
    let drops = live.drops().unwrap();
    assert!(drops > 0);
    assert_eq!(live.drops().unwrap(), drops, "the kernel starts anew when asked, Live does not");
    let seen = seen(&mut live).len();
    assert!(seen > 0 && seen < SENT, "{seen}");
}

#[test]
fn a_ring_shows_the_same() {
    let before = SystemTime::now();
    let Some((mut near, mut far)) = in_namespace(CABLE, || {
        let captures = (open_ring("near"), open_ring("far"));
        for (from, to) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            for port in [54, 53, 5353] {
                send(from, to, port, format!("{to} {port}").as_bytes());
            }
        }
        captures
    }) else {
        return;
    };
    for (live, direction) in [(&mut near, Direction::Outgoing), (&mut far, Direction::Incoming)] {
        let seen = seen(live);
        let payloads: Vec<_> = seen.iter().map(|seen| seen.payload.as_slice()).collect();
        assert_eq!(payloads, [&b"192.0.2.2 53"[..], b"2001:db8::2 53"]);
        for seen in &seen {
            assert_eq!((seen.direction, seen.destination_port), (direction, 53));
            assert!(seen.time >= before && seen.time <= SystemTime::now(), "{:?}", seen.time);
        }
        assert_eq!(live.drops().unwrap(), 0);
    }
}

#[test]
fn a_ring_takes_many_and_counts_what_is_lost() {
    let Some((few, mut many)) = in_namespace(LOOPBACK, || {
        let mut few = open_ring("lo");
        let socket = UdpSocket::bind("127.0.0.1:44444").unwrap();
        let flood = |count: u32, size: usize| {
            for i in 0..count {
                let mut payload = vec![0; size];
                payload[..4].copy_from_slice(&i.to_be_bytes());
                // A refusal of an earlier one is reported here.
                while socket.send_to(&payload, "127.0.0.1:53").is_err() {}
            }
        };
        let mut all = 0;
        // Several times round the ring, read as it fills.
        for _ in 0..20 {
            flood(1000, 600);
            let seen = seen(&mut few);
            let numbers: Vec<u32> = seen
                .iter()
                .map(|seen| u32::from_be_bytes(seen.payload[..4].try_into().unwrap()))
                .collect();
            assert_eq!(numbers, (0..1000).collect::<Vec<u32>>(), "each once, in order");
            all += numbers.len();
        }
        assert_eq!((all, few.drops().unwrap()), (20_000, 0));
        let many = open_ring("lo");
        flood(40_000, 1000);
        (few, many)
    }) else {
        return;
    };
    drop(few);
    assert!(many.drops().unwrap() > 0);
    let seen = seen(&mut many).len();
    assert!(seen > 0 && seen < 40_000, "{seen}");
}

#[test]
fn a_ring_waits_for_a_reader_that_gets_no_processor() {
    let Some(mut far) = in_namespace(CABLE, || {
        let far = open_ring("far");
        // Each alone in its block, as the kernel hands those over that are not full.
        for _ in 0..30 {
            send("192.0.2.1", "192.0.2.2", 53, b"a");
            thread::sleep(Duration::from_millis(30));
        }
        far
    }) else {
        return;
    };
    assert_eq!((seen(&mut far).len(), far.drops().unwrap()), (30, 0));
}

#[test]
fn a_ring_waits_and_says_when_its_interface_goes_down() {
    let Some((waited, went_down)) = in_namespace(CABLE, || {
        let mut near = open_ring("near");
        let start = SystemTime::now();
        assert!(near.next(Duration::from_millis(50)).unwrap().is_none());
        let waited = start.elapsed().unwrap();
        run("ip link set dev near down");
        (waited, near.next(Duration::from_secs(5)).map(|_| ()))
    }) else {
        return;
    };
    assert!(waited >= Duration::from_millis(50) && waited < Duration::from_secs(5), "{waited:?}");
    assert!(went_down.is_err());
}

#[test]
fn says_why_it_cannot_capture() {
    let Some((missing, down, went_down, afterwards)) = in_namespace(CABLE, || {
        let missing = Live::open("nosuch0", &dns()).map(|_| ()).unwrap_err();
        let mut near = open("near");
        run("ip link set dev near down");
        let down = Live::open("near", &dns()).map(|_| ());
        let went_down = near.next(Duration::from_secs(5)).map(|_| ());
        run("ip link set dev near up");
        run("ip neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev near nud permanent");
        send("192.0.2.1", "192.0.2.2", 53, b"up again");
        (missing, down, went_down, seen(&mut near).len())
    }) else {
        return;
    };
    println!("missing: {missing}\ndown: {down:?}\nwent down: {went_down:?}");
    assert!(matches!(missing, OpenError::NoInterface { .. }), "{missing}");
    assert!(went_down.is_err());
    assert_eq!(afterwards, 1);
    assert!(down.is_err(), "opened an interface that is down");
    assert!(matches!(down, Err(OpenError::Down { .. })), "{down:?}");
}

#[test]
fn says_what_it_needs_when_not_permitted() {
    let Some(error) = in_namespace(LOOPBACK, || {
        // SAFETY: no pointers are passed. The call itself is about this thread alone; it is the C
        // library's function that goes through all of them.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        Live::open("lo", &dns()).map(|_| ()).unwrap_err()
    }) else {
        return;
    };
    println!("{error}");
    assert!(matches!(error, OpenError::Permission { .. }), "{error}");
}

/// Runs the commands and then `body` in a thread that has a network namespace of its own.
///
/// None, and a line that says so, if this process may not make one.
fn in_namespace<T: Send + 'static>(
    commands: &'static str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let thread = thread::spawn(move || {
        // SAFETY: no pointers are passed; only this thread changes its namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
            println!("skipped: needs root (CAP_NET_RAW and CAP_SYS_ADMIN)");
            return None;
        }
        commands.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(run);
        Some(body())
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a command in the namespace of this thread.
fn run(command: &str) {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn dns() -> PortFilter {
    PortFilter::new(&[53]).unwrap()
}

fn open(interface: &str) -> Live {
    Live::open(interface, &dns()).unwrap()
}

fn open_ring(interface: &str) -> Live {
    Live::open_ring(interface, &dns()).unwrap()
}

fn send(from: &str, to: &str, port: u16, payload: &[u8]) {
    let address = |ip: &str, port| (ip.parse::<IpAddr>().unwrap(), port);
    let socket = UdpSocket::bind(address(from, 0)).unwrap();
    socket.send_to(payload, address(to, port)).unwrap();
}

/// A UDP packet that was captured.
struct Seen {
    time: SystemTime,
    direction: Direction,
    source: IpAddr,
    destination_port: u16,
    payload: Vec<u8>,
}

/// All that has been captured up to now, which has to be UDP.
fn seen(live: &mut Live) -> Vec<Seen> {
    let mut seen = Vec::new();
    // A ring hands over what it has some milliseconds late.
    while let Some(frame) = live.next(Duration::from_millis(60)).unwrap() {
        let packet = Packet::parse(frame.data).unwrap();
        let transport = packet.transport();
        assert_eq!(transport.protocol, UDP);
        let udp = Udp::parse(transport.payload).unwrap();
        seen.push(Seen {
            time: frame.time,
            direction: frame.direction,
            source: packet.src(),
            destination_port: udp.dst_port(),
            payload: udp.payload().to_vec(),
        });
    }
    seen
}
