//! What is answered, and how.

use super::request::{Refusal, Request};
use crate::metrics::{Format, Source};

const TEXT: &str = "text/plain; charset=utf-8";

/// A response, before it is bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    status: &'static str,
    content_type: &'static str,
    body: String,
    /// The body is only described.
    head_only: bool,
}

impl Response {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Response { status, content_type: TEXT, body: body.into(), head_only: false }
    }

    /// To what was understood.
    pub(super) fn to(request: &Request, source: &dyn Source) -> Self {
        let response = match request.path.as_str() {
            "/metrics" => metrics(&request.accept, source),
            "/healthz" => health(source),
            "/" => Self::text("200 OK", INDEX),
            _ => Self::text("404 Not Found", "Not found. There are /metrics and /healthz.\n"),
        };
        Response { head_only: request.head_only, ..response }
    }

    /// To what was not.
    pub(super) fn refusing(refusal: Refusal) -> Self {
        let (status, body) = match refusal {
            Refusal::Malformed => ("400 Bad Request", "This is no request of HTTP/1.1.\n"),
            Refusal::Method => ("405 Method Not Allowed", "There are only GET and HEAD.\n"),
            Refusal::Slow => ("408 Request Timeout", "The request took too long.\n"),
            Refusal::LongLine => ("414 URI Too Long", "The request line is too long.\n"),
            Refusal::LongHeaders => {
                ("431 Request Header Fields Too Large", "The headers are too long.\n")
            }
            Refusal::Version => ("505 HTTP Version Not Supported", "There is only HTTP/1.\n"),
        };
        Self::text(status, body)
    }

    /// To whoever comes when there are too many.
    pub(super) fn busy() -> Self {
        Self::text("503 Service Unavailable", "Too many connections.\n")
    }

    /// As it goes over the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let allow = if self.status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let mut bytes = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}\
             X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        )
        .into_bytes();
        if !self.head_only {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}

const INDEX: &str = concat!(
    "dnsalt ",
    env!("CARGO_PKG_VERSION"),
    "\n\n/metrics  all numbers, for Prometheus\n/healthz  200 if protected; else 503, with what is wrong\n"
);

fn metrics(accept: &str, source: &dyn Source) -> Response {
    let format = Format::of(accept);
    Response {
        content_type: format.content_type(),
        ..Response::text("200 OK", source.metrics(format))
    }
}

fn health(source: &dyn Source) -> Response {
    let health = source.health();
    if health.protected {
        return Response::text("200 OK", "ok\n");
    }
    let problems: String = health.problems.iter().map(|problem| format!("{problem}\n")).collect();
    Response::text("503 Service Unavailable", problems)
}
