//! `dnsalt prove`: Rash's experiment of 2008, on the path of this machine's own queries.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use dnsalt_capture::{Live, PortFilter};
use rustix::thread::CapabilitySet;
use serde::Serialize;

use super::need;
use crate::cli::{ProveArgs, Server};
use crate::exit::{Failure, Outcome, Verdict};
use crate::output::{self, Tone, paint};
use crate::probe::{self, Plan, Report, Sighting, Wire, trace_line};
use crate::{resolv_conf, route};

/// Pauses after which a flow's port is looked at again; the last is beyond conntrack's 30 s.
const PAUSES: [Duration; 7] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2200),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(31),
];

pub(super) fn run(args: &ProveArgs) -> Outcome {
    let plan = plan(args)?;
    need(CapabilitySet::NET_RAW, "CAP_NET_RAW", "watching the wire")?;
    let interfaces = interfaces(&plan)?;
    let names: Vec<&str> = interfaces.iter().map(String::as_str).collect();
    if !args.json {
        output::print(&format!(
            "Asking {} server{} {} times each over {} from port {}, watching {}.\n\n",
            plan.servers.len(),
            if plan.servers.len() == 1 { "" } else { "s" },
            plan.count,
            if plan.tcp { "TCP" } else { "UDP" },
            plan.sport,
            names.join(", "),
        ))?;
    }
    let wire = watch(&plan, &names)?;
    let asked = probe::ask(&plan)?;
    let seen = wire.stop()?;
    let report = Report::new(&plan, &asked, &seen);
    let stickiness =
        if args.sticky { Some(stickiness(&plan, &names, &report, args.json)?) } else { None };
    if args.json {
        output::print_json(&Proof { report: &report, stickiness, wire: &lines(&seen) })?;
    } else {
        output::print(&text(&report, &seen, stickiness.as_ref()))?;
    }
    if report.saw_nothing() {
        return Err(Failure::CouldNot(anyhow::anyhow!(
            "no query was seen leaving through {}: does a local firewall drop it?",
            names.join(", ")
        )));
    }
    Ok(if report.protected { Verdict::Fine } else { Verdict::Weak })
}

/// What `--json` prints.
#[derive(Serialize)]
struct Proof<'a> {
    #[serde(flatten)]
    report: &'a Report,
    stickiness: Option<Stickiness>,
    wire: &'a [String],
}

/// For how long a flow keeps its port.
#[derive(Debug, Serialize)]
struct Stickiness {
    /// The longest pause in milliseconds after which the port was the same; none if it never was.
    kept_after_ms: Option<u128>,
    /// The shortest pause in milliseconds after which it was another; none if it never was.
    changed_after_ms: Option<u128>,
}

fn plan(args: &ProveArgs) -> Result<Plan, Failure> {
    let mut servers: Vec<SocketAddr> = args.server.iter().map(|Server(address)| *address).collect();
    if servers.is_empty() {
        servers = resolv_conf::servers().into_iter().map(|ip| SocketAddr::new(ip, 53)).collect();
    }
    let mut known = HashSet::new();
    servers.retain(|server| known.insert(*server));
    if let Some(bind) = args.bind
        && let Some(other) = servers.iter().find(|server| server.is_ipv4() != bind.is_ipv4())
    {
        return Err(Failure::Usage(format!(
            "--bind {bind} cannot ask {}: it is of the other address family",
            other.ip()
        )));
    }
    match servers.len() {
        0 => {
            return Err(Failure::Usage(
                "/etc/resolv.conf names no server; say whom to ask: --server ADDRESS".to_owned(),
            ));
        }
        1 => output::say("note: one server shows less than two; add one with --server"),
        _ => {}
    }
    Ok(Plan {
        servers,
        count: args.count,
        sport: args.sport,
        bind: args.bind,
        gap: args.gap,
        tcp: args.tcp,
        zone: Plan::zone_under(&args.name),
    })
}

/// The interfaces that lead to the servers, by name.
fn interfaces(plan: &Plan) -> Result<BTreeSet<String>, Failure> {
    let mut interfaces = BTreeSet::new();
    for server in &plan.servers {
        let name = route::interface_to(server.ip(), plan.bind)
            .with_context(|| format!("no way to {}", server.ip()))?;
        if name == "lo" {
            return Err(Failure::Usage(format!(
                "{} is this machine itself: nothing leaves it; name a server elsewhere with --server",
                server.ip()
            )));
        }
        interfaces.insert(name);
    }
    Ok(interfaces)
}

fn watch(plan: &Plan, interfaces: &[&str]) -> anyhow::Result<Wire> {
    let filter = PortFilter::new(&plan.dns_ports())?;
    let captures = interfaces
        .iter()
        .map(|name| Ok(((*name).to_owned(), Live::open(name, &filter)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Wire::watch(captures, &plan.zone))
}

/// Waits longer and longer between two queries to the first server, until the port changes.
fn stickiness(
    plan: &Plan,
    interfaces: &[&str],
    report: &Report,
    quiet: bool,
) -> anyhow::Result<Stickiness> {
    let first = Plan { servers: plan.servers[..1].to_vec(), ..plan.clone() };
    let mut last = report.servers[0].wire_ports.last().copied();
    let mut result = Stickiness { kept_after_ms: None, changed_after_ms: None };
    for (pause, round) in PAUSES.into_iter().zip(plan.count..) {
        if !quiet {
            output::say(&format!("waiting {} ...", humantime::format_duration(pause)));
        }
        // The answer to the query before, or our wait for it, has already taken some time.
        let wire = watch(&first, interfaces)?;
        std::thread::sleep(pause);
        let asked = probe::ask_again(&first, round)?;
        let seen = wire.stop()?;
        let port = Report::new(&first, &asked, &seen).servers[0].wire_ports.first().copied();
        if port != last {
            result.changed_after_ms = Some(pause.as_millis());
            break;
        }
        result.kept_after_ms = Some(pause.as_millis());
        last = port;
    }
    Ok(result)
}

fn lines(seen: &[Sighting]) -> Vec<String> {
    seen.iter().map(trace_line).collect()
}

fn text(report: &Report, seen: &[Sighting], stickiness: Option<&Stickiness>) -> String {
    let mut text = lines(seen).join("\n");
    text += &format!("\n\n{}\n", report.table());
    if let Some(stickiness) = stickiness {
        text += &format!("{}\n\n", stickiness.words());
    }
    let tone = if report.protected { Tone::Good } else { Tone::Bad };
    text + &paint(tone, &report.verdict()) + "\n"
}

impl Stickiness {
    fn words(&self) -> String {
        let time = |ms: u128| {
            let ms = u64::try_from(ms).unwrap_or(u64::MAX);
            humantime::format_duration(Duration::from_millis(ms)).to_string()
        };
        match (self.kept_after_ms, self.changed_after_ms) {
            (Some(kept), Some(changed)) => format!(
                "A flow kept its port over a pause of {}, and had another after {}.",
                time(kept),
                time(changed)
            ),
            (None, Some(changed)) => {
                format!("The port does not stick: after {} it was another.", time(changed))
            }
            (_, None) => "A flow kept its port over every pause, 31s the longest.".to_owned(),
        }
    }
}
