//! Requests over real connections.

use std::net::SocketAddr;
use std::time::Instant;

use domain::base::Rtype;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::answer::tests::{query, serving};
use crate::query::Over;

/// A page, and who answers its names.
fn start() -> (SocketAddr, Arc<Answers>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Arc::new(serving("t.example.net".parse().unwrap(), 0));
    tokio::spawn(serve(listener, Arc::clone(&answers), [9; 16], ""));
    (address, answers)
}

/// Everything that comes back until the connection ends.
async fn said(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    String::from_utf8(said).unwrap()
}

async fn asked(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let said = said(address, &request).await;
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_result_is_there_once_a_name_was_asked_for() {
    let (address, answers) = start();
    let (head, begun) = asked(address, "POST", "/tests").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let begun: Value = serde_json::from_str(&begun).unwrap();
    let path = format!("/tests/{}", begun["link"].as_str().unwrap());
    assert!(asked(address, "GET", &path).await.0.starts_with("HTTP/1.1 404 "));
    // Whoever begins tests takes no room by that.
    assert_eq!(answers.sessions().len(), 0);

    let from = "198.51.100.9:5000".parse().unwrap();
    let name = begun["names"][0].as_str().unwrap();
    let mut reply = Vec::new();
    for id in 0..5 {
        let query = query(id, name, Rtype::A, None);
        assert!(answers.answer(&query, from, Over::Udp, now(), &mut reply));
    }
    let (_, result) = asked(address, "GET", &path).await;
    let result: Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["addresses"], serde_json::json!(["198.51.100.9"]));
    assert_eq!((&result["queries"][4]["id"], &result["done"]), (&4.into(), &true.into()));
    // The token, which the resolver has, is no link.
    let token = name.split('.').nth(3).unwrap();
    assert!(asked(address, "GET", &format!("/tests/{token}")).await.0.contains(" 404 "));

    let (head, events) = asked(address, "GET", &format!("{path}/events")).await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let (first, last) = (events.find("event: progress"), events.find("event: done"));
    assert!(first.is_some() && first < last, "{events}");
    assert!(events.contains("198.51.100.9"), "{events}");
}

#[tokio::test]
async fn what_is_asked_for_otherwise_is_an_error_with_the_same_headers() {
    let (address, _) = start();
    for (method, path, code) in [
        ("GET", "/nothing", " 404 "),
        ("GET", "/../../etc/passwd", " 404 "),
        ("DELETE", "/", " 405 "),
        ("GET", "/tests", " 405 "),
    ] {
        let (head, _) = asked(address, method, path).await;
        assert!(head.contains(code) && head.contains("default-src 'none'"), "{path}: {head}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000));
    for request in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", &long] {
        let said = said(address, request).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
}

#[tokio::test]
async fn who_does_not_ask_is_not_waited_for() {
    let (address, _) = start();
    let begun = Instant::now();
    let (half, nothing) = tokio::join!(said(address, "GET / HTTP/1.1\r\n"), said(address, ""));
    for said in [half, nothing] {
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
    assert!(begun.elapsed() < PATIENCE * 2);
}
