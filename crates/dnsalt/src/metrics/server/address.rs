//! Where to listen.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// As users write it: `127.0.0.1:9853`, `[::1]:9853`, `unix:/run/dnsalt/metrics.sock`, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
    /// Nowhere.
    None,
}

/// Bytes of a path that the kernel takes for a socket, without the one at the end (`sun_path`).
const LONGEST_PATH: usize = 107;

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Address::None);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                _ if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') => {
                    Err(format!("`{path}` is no absolute path of a file"))
                }
                _ if path.len() + NEW.len() > LONGEST_PATH => Err(format!(
                    "`{path}` is longer than the {} bytes that a socket's path can have",
                    LONGEST_PATH - NEW.len()
                )),
                _ => Ok(Address::Unix(path.into())),
            };
        }
        text.parse().map(Address::Tcp).map_err(|_| {
            format!(
                "`{text}` is no address to listen on; write it like 127.0.0.1:9853, [::1]:9853, \
                 unix:/run/dnsalt/metrics.sock or none"
            )
        })
    }
}

/// Ends the name of a socket that is not ready yet.
pub(super) const NEW: &str = ".new";

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["127.0.0.1:9853", "[::1]:9853", "unix:/run/dnsalt/metrics.sock", "none"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let long = format!("unix:/{}", "x".repeat(104));
        for text in [
            "",
            "9853",
            "localhost:9853",
            "::1:9853",
            "unix:",
            "unix:metrics.sock",
            "unix:/run/",
            &long,
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains('`') && !error.contains('\n'), "{error}");
        }
    }
}
