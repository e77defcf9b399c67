//! Requests whole, in pieces, and hostile.

use proptest::prelude::*;

use super::request::{HEADERS, Head, LINE, Refusal, Request};

fn read(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut head = Head::default();
    if head.take(bytes)? { head.parse().map(Some) } else { Ok(None) }
}

fn get(path: &str, accept: &str) -> Request {
    Request { head_only: false, path: path.to_owned(), accept: accept.to_owned() }
}

#[test]
fn what_clients_send() {
    let curl = b"GET /metrics HTTP/1.1\r\nHost: localhost:9853\r\nAccept: */*\r\n\r\n";
    assert_eq!(read(curl), Ok(Some(get("/metrics", "*/*"))));
    assert_eq!(read(b"GET / HTTP/1.0\r\n\r\n"), Ok(Some(get("/", ""))));
    assert_eq!(read(b"GET / HTTP/1.0\n\n"), Ok(Some(get("/", ""))));
    let two = b"GET /a?b=/c HTTP/1.0\r\naccept: a\r\nACCEPT:b \r\n\r\nand more";
    assert_eq!(read(two), Ok(Some(get("/a", "a,b"))));
    let proxy = b"GET http://localhost/metrics HTTP/1.0\r\n\r\n";
    assert_eq!(read(proxy), Ok(Some(get("/metrics", ""))));
    let head = Request { head_only: true, ..get("/", "") };
    assert_eq!(read(b"HEAD / HTTP/1.0\r\n\r\n"), Ok(Some(head)));
}

#[test]
fn what_is_not_clear_is_refused() {
    for (bytes, refusal) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Refusal::Malformed),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refusal::Malformed),
        (b"GET /\r\n\r\n", Refusal::Malformed),
        (b"GET  / HTTP/1.0\r\n\r\n", Refusal::Malformed),
        (b"G@T / HTTP/1.0\r\n\r\n", Refusal::Malformed),
        (b"GET /\xff HTTP/1.0\r\n\r\n", Refusal::Malformed),
        (b"GET metrics HTTP/1.0\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.0\r\nnone\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.0\r\na : b\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.0\r\na: b\r\n c\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.0\r\na: b\rc\r\n\r\n", Refusal::Malformed),
        (b"\r\nGET / HTTP/1.0\r\n\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.0\r\n\r\n", Refusal::Method),
        (b"OPTIONS * HTTP/1.0\r\n\r\n", Refusal::Method),
        (b"PRI * HTTP/2.0\r\n\r\n", Refusal::Version),
        (b"GET / FTP/1.0\r\n\r\n", Refusal::Malformed),
    ] {
        assert_eq!(read(bytes), Err(refusal), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn limits() {
    let line = |length: usize| format!("GET /{} HTTP/1.0\r\n", "x".repeat(length - 16));
    let long = line(LINE) + "\r\n";
    assert!(read(long.as_bytes()).is_ok_and(|request| request.is_some()));
    assert_eq!(read((line(LINE + 1) + "\r\n").as_bytes()), Err(Refusal::LongLine));
    assert_eq!(read(&vec![b'x'; LINE + 1]), Err(Refusal::LongLine));
    let headers = |length: usize| format!("GET / HTTP/1.0\r\na:{}\r\n\r\n", "x".repeat(length - 6));
    assert!(read(headers(HEADERS).as_bytes()).is_ok_and(|request| request.is_some()));
    assert_eq!(read(headers(HEADERS + 1).as_bytes()), Err(Refusal::LongHeaders));
    let endless = headers(HEADERS + 3);
    assert_eq!(read(&endless.as_bytes()[..endless.len() - 2]), Err(Refusal::LongHeaders));
}

/// Bytes that look like a request often enough to get anywhere.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        &b"GET"[..],
        b" ",
        b"/",
        b"/metrics",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"Host: a",
        b"Accept",
        b":",
        b"\0",
        b"\xff\xfe",
        b"?",
        b"\r\n\r\n",
        b"GET / HTTP/1.0\r\n",
    ]);
    let piece = prop_oneof![
        4 => word.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..50),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn hostile_bytes_do_not_panic_and_pieces_do_not_matter(bytes in bytes(), size in 1_usize..9) {
        let whole = read(&bytes);
        let mut head = Head::default();
        let mut done = Ok(false);
        for piece in bytes.chunks(size) {
            done = head.take(piece);
            if done != Ok(false) {
                break;
            }
        }
        let pieced = match done {
            Ok(true) => head.parse().map(Some),
            Ok(false) => Ok(None),
            Err(refusal) => Err(refusal),
        };
        prop_assert_eq!(whole, pieced);
    }
}
