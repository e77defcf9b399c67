//! `dnsalt serve`: a port test of one's own.

use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use dnsalt_serve::{Options, ServeError, Server, Web};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::agent;
use crate::cli::ServeArgs;
use crate::exit::{Failure, Outcome, Verdict};
use crate::metrics;
use crate::output;
use crate::page;

pub(super) fn run(args: &ServeArgs) -> Outcome {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let options = Options {
        zone: args.zone.clone().with_addresses(args.address.clone()),
        listen: args.listen.clone(),
        threads: args.threads.map_or(threads, usize::from),
        rate: args.rate,
        sessions: args.tests as usize,
        nsid: args.nsid.clone(),
        user: args.user.unwrap_or_default(),
        web: web(&args.web),
    };
    let server = Server::bind(options).map_err(|error| match error {
        ServeError::NoAddress(_) => Failure::Usage(error.to_string()),
        ServeError::Listen { ref cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
            Failure::CouldNot(anyhow::anyhow!(
                "{error}; ports below 1024 need root (CAP_NET_BIND_SERVICE), which is given up right after"
            ))
        }
        _ => error.into(),
    })?;
    let metrics = metrics::Server::bind(&args.metrics)?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals")?;
    agent::init_log(agent::Format::Auto)?;
    let dropped = server.drop_privileges()?;
    let zone = args.zone.text();
    for address in server.addresses() {
        tracing::info!(%address, zone, "answering over UDP and TCP");
    }
    let pages = server.pages();
    for address in &pages {
        tracing::info!(%address, "page");
    }
    tracing::info!(landlock = dropped.landlock, seccomp = dropped.seccomp, "privileges dropped");
    let _metrics = metrics.run(metrics::Serving::new(server.numbers())).context("metrics")?;
    let _running = server.run()?;
    let pages: String = pages.iter().map(|page| format!("page: http://{page}/\n")).collect();
    output::print(&format!("ready: dig +short TXT porttest.{zone}\n{pages}"))?;
    signals.forever().next();
    Ok(Verdict::Fine)
}

fn web(listen: &[SocketAddr]) -> Option<Web> {
    (!listen.is_empty()).then(|| Web { listen: listen.to_vec(), style: page::STYLE })
}
