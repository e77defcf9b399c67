//! The head of an HTTP/1.x request (RFC 9112), as strictly as it can be read: what is not clear is refused.
//!
//! ```text
//!   GET /metrics HTTP/1.1\r\n          at most 4 KiB
//!   Host: localhost:9853\r\n           ┐
//!   Accept: text/plain\r\n             │ at most 16 KiB
//!   \r\n                               ┘
//! ```
//!
//! A body is not read: none of what is served takes one, and every connection ends with its response.

/// Bytes of the request line, at most.
pub(super) const LINE: usize = 4 << 10;
/// Bytes of the headers behind it, at most.
pub(super) const HEADERS: usize = 16 << 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Only the head of the response is wanted.
    pub(super) head_only: bool,
    /// Without the query behind `?`.
    pub(super) path: String,
    /// All headers `Accept`, as one.
    pub(super) accept: String,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400
    Malformed,
    /// 405
    Method,
    /// 408
    Slow,
    /// 414
    LongLine,
    /// 431
    LongHeaders,
    /// 505
    Version,
}

/// Collects a head piece by piece.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    /// Length of the request line with its end, once that has come.
    line: Option<usize>,
}

impl Head {
    /// Takes what came next; true when the head is complete.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<bool, Refusal> {
        // The end may be in two pieces. Looked at are new bytes only: many small pieces cost no more.
        let from = self.bytes.len().saturating_sub(2);
        self.bytes.extend_from_slice(piece);
        if self.line.is_none() {
            let end = self.bytes[from..].iter().position(|byte| *byte == b'\n');
            self.line = end.map(|end| from + end + 1);
        }
        let line = self.line.unwrap_or(self.bytes.len());
        if line > LINE {
            return Err(Refusal::LongLine);
        }
        let Some(start) = self.line else { return Ok(false) };
        let end = end(&self.bytes, from.max(start - 1));
        let length = end.unwrap_or(self.bytes.len());
        if length - start > HEADERS {
            return Err(Refusal::LongHeaders);
        }
        if let Some(end) = end {
            self.bytes.truncate(end);
        }
        Ok(end.is_some())
    }

    /// What a complete head says.
    pub(super) fn parse(&self) -> Result<Request, Refusal> {
        let mut lines = self.bytes.split(|byte| *byte == b'\n');
        let mut next = || lines.next().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = next().ok_or(Refusal::Malformed)?;
        let (mut request, needs_host) = request_line(line)?;
        let mut hosts = 0;
        while let Some(line) = next().filter(|line| !line.is_empty()) {
            let (name, value) = header(line)?;
            if name.eq_ignore_ascii_case(b"host") {
                hosts += 1;
            } else if name.eq_ignore_ascii_case(b"accept") {
                if !request.accept.is_empty() {
                    request.accept.push(',');
                }
                request.accept += &String::from_utf8_lossy(value);
            }
        }
        if hosts > 1 || needs_host && hosts == 0 {
            return Err(Refusal::Malformed);
        }
        Ok(request)
    }
}

/// Where a head ends: behind an empty line. The line before it may end at `from` or later.
fn end(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).filter(|at| bytes[*at] == b'\n').find_map(|at| match bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// `METHOD SP TARGET SP VERSION`; also whether a header `Host` has to follow.
fn request_line(line: &[u8]) -> Result<(Request, bool), Refusal> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return Err(Refusal::Malformed) };
    let needs_host = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::Malformed),
    };
    let path = path(target).ok_or(Refusal::Malformed)?;
    let head_only = match method {
        b"GET" => false,
        b"HEAD" => true,
        _ if is_token(method) => return Err(Refusal::Method),
        _ => return Err(Refusal::Malformed),
    };
    Ok((Request { head_only, path, accept: String::new() }, needs_host))
}

/// Of `/path?query`, or `http://host/path?query`, which every server has to understand.
fn path(target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    if target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        // `OPTIONS *` is no path, but well-formed.
        None => target,
    };
    let path = path.split('?').next().unwrap_or_default();
    (path.starts_with('/') || path == "*").then(|| path.to_owned())
}

/// `NAME: VALUE`. Lines that go on the one before are long out of use.
fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::Malformed)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let clean = value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if is_token(name) && clean { Ok((name, value)) } else { Err(Refusal::Malformed) }
}

/// RFC 9110, 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(fits)
}
