//! The arguments of `serve`.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use dnsalt_serve::{User, Zone};

/// The port of DNS.
const DNS: u16 = 53;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Zone that is delegated to this machine, like t.example.net
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Zone,

    /// Address of this machine that resolvers ask, with its port if that is not 53; may be repeated
    #[arg(long, value_name = "ADDR", required = true, value_parser = address)]
    pub(crate) listen: Vec<SocketAddr>,

    /// Address of ns.ZONE as others see it, behind a NAT [default: those of --listen]; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) address: Vec<IpAddr>,

    /// Also serve a page for browsers at this address, like 127.0.0.1:8053; may be repeated
    #[arg(long, value_name = "ADDR:PORT", value_parser = page)]
    pub(crate) web: Vec<SocketAddr>,

    /// Replies over UDP a second to each network (/24, /56) that shows no DNS cookie; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) rate: u32,

    /// Tests that are kept at a time, each for an hour at most: up to 4 kB each
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::builder::RangedU64ValueParser::<u32>::new().range(64..))]
    pub(crate) tests: u32,

    /// Threads that answer over UDP, for each address [default: one for each CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,

    /// What this server is called, for who asks for it (NSID)
    #[arg(long, value_name = "NAME", value_parser = nsid)]
    pub(crate) nsid: Option<String>,

    /// Who it runs as, if root starts it: a name of /etc/passwd or UID:GID [default: nobody]
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<User>,

    /// Serve metrics for Prometheus at this address; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Vec<crate::metrics::Address>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse().ok();
    let without = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, DNS));
    with_port.or_else(without).ok_or_else(|| {
        "give an address, like 203.0.113.5 or 2001:db8::5; with a port 203.0.113.5:5353 or [2001:db8::5]:5353"
            .to_owned()
    })
}

fn page(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "give an address and a port, like 127.0.0.1:8053 or [2001:db8::5]:80".to_owned()
    })
}

fn nsid(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 {
        return Err("give 1 to 64 bytes".to_owned());
    }
    Ok(text.to_owned())
}
