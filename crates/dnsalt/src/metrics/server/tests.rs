//! The server spoken to over its sockets, by clients of all manners.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::metrics::{Format, Health};

/// Shows what it is told to.
struct Fixed(Health);

impl Source for Fixed {
    fn metrics(&self, format: Format) -> String {
        format!("{format:?}\n")
    }

    fn health(&self) -> Health {
        self.0.clone()
    }
}

fn well() -> Health {
    Health { protected: true, problems: Vec::new() }
}

fn start(health: Health) -> (SocketAddr, Running) {
    let server = Server::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let [Address::Tcp(address)] = server.addresses()[..] else { panic!() };
    (address, server.run(Fixed(health)).unwrap())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything that comes back; what cannot be sent or read is none of it.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(address: SocketAddr, path: &str) -> String {
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
}

#[track_caller]
fn assert_answer(answer: &str, status: &str, body: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    let (head, found) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(found, body);
    assert!(head.contains(&format!("Content-Length: {}", found.len())), "{head}");
    assert!(head.contains("Connection: close"), "{head}");
}

#[test]
fn what_is_served() {
    let (address, _running) = start(well());
    assert_answer(&get(address, "/metrics"), "200 OK", "Text\n");
    assert_answer(&get(address, "/metrics?name=x"), "200 OK", "Text\n");
    let accept = "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text\r\n\r\n";
    let open = ask(address, accept.as_bytes());
    assert_answer(&open, "200 OK", "OpenMetrics\n");
    assert!(open.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert_answer(&get(address, "/healthz"), "200 OK", "ok\n");
    let index = get(address, "/");
    assert!(index.contains("/metrics") && index.contains("/healthz"), "{index}");
    assert!(get(address, "/favicon.ico").starts_with("HTTP/1.1 404 "));
    let head = ask(address, b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.contains("Content-Length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn what_is_wrong_is_told() {
    let problems = vec!["the rules are gone".to_owned(), "and more".to_owned()];
    let (address, _running) = start(Health { protected: false, problems });
    let answer = get(address, "/healthz");
    assert_answer(&answer, "503 Service Unavailable", "the rules are gone\nand more\n");
}

#[test]
fn what_is_refused() {
    let (address, _running) = start(well());
    let post = ask(address, b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("Allow: GET, HEAD\r\n"), "{post}");
    assert!(ask(address, b"\x16\x03\x01\x02\0\n\n").starts_with("HTTP/1.1 400 "), "TLS");
    let long = [b"GET /".as_slice(), &vec![b'x'; 100_000], b" HTTP/1.1\r\n\r\n"].concat();
    assert!(ask(address, &long).starts_with("HTTP/1.1 414 "));
    let many = ["GET / HTTP/1.1\r\n", &"Cookie: a\r\n".repeat(5_000), "\r\n"].concat();
    assert!(ask(address, many.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert_answer(&get(address, "/healthz"), "200 OK", "ok\n");
}

/// A byte now and then keeps nobody's connection: the time is for the whole.
#[test]
fn whoever_trickles_is_cut_off_in_time_and_keeps_out_few() {
    let (address, _running) = start(well());
    let began = Instant::now();
    let mut slow: Vec<_> = (0..CONNECTIONS).map(|_| connect(address)).collect();
    let wait = || thread::sleep(Duration::from_millis(100));
    // Until all of them have their threads.
    while !get(address, "/").contains("503 Service Unavailable") {
        assert!(began.elapsed() < Duration::from_secs(4), "more than {CONNECTIONS} at a time");
        wait();
    }
    let mut trickled = 0;
    while began.elapsed() < Duration::from_secs(20) {
        for stream in &mut slow {
            trickled += usize::from(stream.write_all(b"G").is_ok());
        }
        if get(address, "/healthz").ends_with("ok\n") {
            break;
        }
        wait();
    }
    assert!((4..20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(trickled > CONNECTIONS, "{trickled}");
    let mut answer = String::new();
    let _ = slow[0].read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn a_client_that_never_reads_or_goes_at_once_harms_nobody() {
    let (address, _running) = start(well());
    let _silent: Vec<_> = (0..5)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for _ in 0..200 {
        drop(connect(address));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while !get(address, "/healthz").ends_with("ok\n") {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn dropped_it_stops() {
    let (address, running) = start(well());
    assert_answer(&get(address, "/healthz"), "200 OK", "ok\n");
    drop(running);
    assert!(TcpStream::connect(address).is_err());
    // The address is free at once.
    assert!(Server::bind(&[Address::Tcp(address)]).is_ok());
}

#[test]
fn a_socket_in_the_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/metrics.sock");
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    drop(Server::bind(std::slice::from_ref(&address)).unwrap());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is left");
    std::fs::create_dir(folder.path().join("new")).unwrap();
    // One that an agent left which was killed.
    drop(UnixListener::bind(&path).unwrap());
    let server = Server::bind(&[address.clone(), Address::None]).unwrap();
    assert_eq!(server.addresses(), std::slice::from_ref(&address));
    let taken = Server::bind(std::slice::from_ref(&address)).unwrap_err().to_string();
    assert!(taken.starts_with(&format!("{address}: cannot be listened on")), "{taken}");
    let running = server.run(Fixed(well())).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_answer(&answer, "200 OK", "ok\n");
    drop(running);
    let left = path.parent().unwrap().read_dir().unwrap().count();
    assert_eq!(left, 0, "the folder was there before");
}

#[test]
fn what_is_no_socket_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    assert!(Server::bind(&[Address::Unix(path.clone())]).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
    let missing = folder.path().join("no/such/folder.sock");
    assert!(Server::bind(&[Address::Unix(missing)]).is_err());
}

#[test]
fn hostile_bytes_get_an_answer_or_none_and_others_are_served() {
    let (address, _running) = start(well());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    runner
        .run(&prop::collection::vec(any::<u8>(), 1..300), |mut bytes| {
            // It ends, so nobody waits for more.
            bytes.extend_from_slice(b"\n\n");
            let answer = ask(address, &bytes);
            prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{}", answer);
            Ok(())
        })
        .unwrap();
    assert_answer(&get(address, "/healthz"), "200 OK", "ok\n");
}
