//! `dnsalt lab recipe`: the experiment of 2008, before and after, and what was learned since.
//!
//! ```text
//!   resolver ── eth0 ─── lan0 ── gateway ── wan0 ─── eth0 ── upstream: 2 servers, IPv4 and IPv6
//!   (asks from 44444)             (dnsalt runs here; the wire is watched on wan0)
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dnsalt_capture::{Live, PortFilter};
use dnsalt_lab::actor::DnsServer;
use dnsalt_lab::topology::{self, Gateway};
use dnsalt_lab::{Host, require, require_root};

use crate::commands::own_program;
use crate::exit::{Outcome, Verdict};
use crate::output::{self, Tone, paint};
use crate::probe::{self, Judgement, Plan, Report, Sighting, Wire, trace_line};

/// The port that the resolver insists on, as in the article.
const FIXED: u16 = 44444;

pub(super) fn run() -> Outcome {
    require_root()?;
    require(&["ip", "nft"])?;
    output::print(INTRODUCTION)?;
    let mut lab = Lab::build()?;
    lab.before_and_after()?;
    lab.stickiness()?;
    lab.port_53()?;
    lab.per_query()?;
    lab.undone()?;
    output::print(&lab.summary())?;
    let fine = lab.expectations.iter().all(|expectation| expectation.met);
    Ok(if fine { Verdict::Fine } else { Verdict::Weak })
}

const INTRODUCTION: &str = "\
A network of its own, in namespaces of this machine; nothing else is touched.

  resolver 10.53.1.2 --- gateway 10.53.2.1 --- servers 10.53.2.53 and .54
           fd53:1::2             fd53:2::1             fd53:2::53 and ::54

The resolver cannot be patched: it asks from port 44444, always. We watch the
outer side of the gateway, where an attacker would have to guess the port.
";

/// What should be seen, and whether it was.
struct Expectation {
    what: &'static str,
    seen: String,
    met: bool,
}

/// Whose queries are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Made by the resolver, passing the gateway.
    Forwarded,
    /// Made on the gateway itself.
    Local,
}

struct Lab {
    net: Gateway,
    _servers: DnsServer,
    expectations: Vec<Expectation>,
    /// The gateway's rules before anything was done.
    ruleset: String,
}

impl Lab {
    fn build() -> anyhow::Result<Self> {
        let net = topology::gateway().context("the lab's network could not be built")?;
        let servers = DnsServer::start(&net.upstream, &net.servers())?;
        let ruleset = net.gateway.sh("nft list ruleset")?;
        Ok(Lab { net, _servers: servers, expectations: Vec::new(), ruleset })
    }

    /// The four traces of the article.
    fn before_and_after(&mut self) -> anyhow::Result<()> {
        for (heading, case, what) in [
            (
                "Before: the resolver asks through the gateway",
                Case::Forwarded,
                "before, forwarded: the fixed port is on the wire",
            ),
            (
                "Before: a program on the gateway asks",
                Case::Local,
                "before, local: the fixed port is on the wire",
            ),
        ] {
            let report = self.trace(heading, case, &self.plan(FIXED, 2))?;
            let fixed = report.servers.iter().all(|s| s.judgement == Judgement::Fixed);
            self.expect(what, seen_ports(&report), fixed);
        }
        self.up(&[])?;
        for (heading, case, what) in [
            (
                "After: the resolver asks through the gateway",
                Case::Forwarded,
                "after, forwarded: random ports, all answered",
            ),
            (
                "After: a program on the gateway asks",
                Case::Local,
                "after, local: random ports, all answered",
            ),
        ] {
            let report = self.trace(heading, case, &self.plan(FIXED, 2))?;
            self.expect(what, seen_ports(&report), report.protected && report.all_answered());
        }
        let tcp = Plan { tcp: true, ..self.plan(FIXED, 2) };
        let report = self.measure(Case::Forwarded, &tcp)?;
        self.expect(
            "the same over TCP",
            seen_ports(&report),
            report.protected && report.all_answered(),
        );
        Ok(())
    }

    /// Rash's limit: conntrack keeps a flow's port; our timeout policy lets it go sooner.
    fn stickiness(&mut self) -> anyhow::Result<()> {
        heading("For how long a port sticks")?;
        let quick = Plan { gap: Duration::from_millis(100), ..self.plan(FIXED, 4) };
        let report = self.measure(Case::Forwarded, &quick)?;
        let sticks = report.servers.iter().all(|s| s.distinct_ports == 1);
        self.expect("4 queries in a second: one port for each flow", distinct(&report), sticks);
        let slow = Plan { gap: Duration::from_millis(2300), ..self.plan(FIXED, 3) };
        let report = self.measure(Case::Forwarded, &slow)?;
        let fresh = report.servers.iter().all(|s| s.distinct_ports == usize::from(slow.count));
        self.expect("a pause of 2.3 s: a new port each time", distinct(&report), fresh);
        self.up(&["--timeout", "0"])?;
        let report = self.measure(Case::Forwarded, &slow)?;
        let sticks = report.servers.iter().all(|s| s.distinct_ports == 1);
        self.expect("the same with conntrack's own 30 s: it sticks", distinct(&report), sticks);
        Ok(())
    }

    /// Without a range the kernel keeps a low port low.
    fn port_53(&mut self) -> anyhow::Result<()> {
        heading("The trap of port 53: query-source port 53")?;
        self.down()?;
        self.net.gateway.sh(PLAIN_RECIPE)?;
        let plan = self.plan(53, 2);
        let report = self.measure(Case::Forwarded, &plan)?;
        let low = report.servers.iter().flat_map(|s| &s.wire_ports).all(|port| *port < 512);
        self.expect("the plain recipe: port 53 becomes one below 512", seen_ports(&report), low);
        self.net.gateway.sh("nft delete table ip plain; nft delete table ip6 plain")?;
        self.up(&[])?;
        let report = self.measure(Case::Forwarded, &plan)?;
        let high = report.servers.iter().flat_map(|s| &s.wire_ports).all(|port| *port >= 1024);
        let what = "dnsalt's range: port 53 becomes one of 64508";
        self.expect(what, seen_ports(&report), high && report.protected);
        Ok(())
    }

    fn per_query(&mut self) -> anyhow::Result<()> {
        heading("A port for every query")?;
        self.up(&["--per-query"])?;
        let plan = Plan { gap: Duration::from_millis(50), ..self.plan(FIXED, 8) };
        let report = self.measure(Case::Forwarded, &plan)?;
        // Eight draws of 64508 are all different but for once in 2300 times.
        let fresh = report.servers.iter().all(|s| s.distinct_ports >= 7);
        self.expect(
            "--per-query: 8 quick queries, 8 ports",
            distinct(&report),
            fresh && report.all_answered(),
        );
        Ok(())
    }

    fn undone(&mut self) -> anyhow::Result<()> {
        heading("Putting it back")?;
        self.down()?;
        let same = self.net.gateway.sh("nft list ruleset")? == self.ruleset;
        let seen = if same { "no difference" } else { "a difference" };
        self.expect("after down: the rules are as they were", seen.to_owned(), same);
        let report = self.measure(Case::Forwarded, &self.plan(FIXED, 2))?;
        let fixed = report.servers.iter().all(|s| s.judgement == Judgement::Fixed);
        self.expect("after down: the fixed port is back", seen_ports(&report), fixed);
        Ok(())
    }

    fn plan(&self, sport: u16, count: u16) -> Plan {
        let servers = self.net.servers().into_iter();
        Plan {
            servers: servers.map(|address| SocketAddr::new(address, 53)).collect(),
            count,
            sport,
            bind: None,
            gap: Duration::from_millis(250),
            tcp: false,
            zone: Plan::zone_under("test"),
        }
    }

    fn host(&self, case: Case) -> &Host {
        match case {
            Case::Forwarded => &self.net.resolver,
            Case::Local => &self.net.gateway,
        }
    }

    /// Asks, and watches the outer side of the gateway.
    fn experiment(&self, case: Case, plan: &Plan) -> anyhow::Result<(Report, Vec<Sighting>)> {
        let filter = PortFilter::new(&plan.dns_ports())?;
        let live = self.net.gateway.run(move || Live::open("wan0", &filter))?;
        let wire = Wire::watch(vec![("wan0".to_owned(), live)], &plan.zone);
        let asking = plan.clone();
        let asked = self.host(case).run(move || probe::ask(&asking))?;
        let seen = wire.stop()?;
        Ok((Report::new(plan, &asked, &seen), seen))
    }

    fn measure(&self, case: Case, plan: &Plan) -> anyhow::Result<Report> {
        Ok(self.experiment(case, plan)?.0)
    }

    /// The experiment with its trace, queries only.
    fn trace(&self, title: &str, case: Case, plan: &Plan) -> anyhow::Result<Report> {
        heading(title)?;
        let (report, seen) = self.experiment(case, plan)?;
        let queries: String = seen
            .iter()
            .filter(|sighting| sighting.outgoing && !sighting.response)
            .map(|sighting| trace_line(sighting) + "\n")
            .collect();
        output::print(&format!("{queries}\n{}\n", report.table()))?;
        Ok(report)
    }

    fn up(&self, options: &[&str]) -> anyhow::Result<()> {
        self.dnsalt(&[&["up", "--engine", "nat"], options].concat())
    }

    fn down(&self) -> anyhow::Result<()> {
        self.dnsalt(&["down"])
    }

    /// Runs this very program on the gateway, as an administrator would.
    fn dnsalt(&self, args: &[&str]) -> anyhow::Result<()> {
        let shown = args.join(" ");
        output::print(&format!("{}\n", paint(Tone::Strong, &format!("gateway# dnsalt {shown}"))))?;
        let done = self.net.gateway.command(own_program()?).args(args).output()?;
        let text = String::from_utf8_lossy(&done.stdout);
        if !done.status.success() {
            bail!("dnsalt {shown}: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        output::print(&(indented(&text) + "\n"))?;
        Ok(())
    }

    fn expect(&mut self, what: &'static str, seen: String, met: bool) {
        let mark = if met {
            paint(Tone::Good, "as expected")
        } else {
            paint(Tone::Bad, "NOT AS EXPECTED")
        };
        let _ = output::print(&format!("  {what}\n    {seen}: {mark}\n"));
        self.expectations.push(Expectation { what, seen, met });
    }

    fn summary(&self) -> String {
        let mut text = format!("\n{}\n\n", paint(Tone::Strong, "What was seen"));
        for expectation in &self.expectations {
            let mark =
                if expectation.met { paint(Tone::Good, "ok ") } else { paint(Tone::Bad, "NO ") };
            text += &format!("{mark} {:<48} {}\n", expectation.what, expectation.seen);
        }
        let failed = self.expectations.iter().filter(|expectation| !expectation.met).count();
        text += &match failed {
            0 => format!("\nAll {} as expected.\n", self.expectations.len()),
            some => format!("\n{some} of {} NOT as expected.\n", self.expectations.len()),
        };
        text
    }
}

/// The recipe as it was published, without a range of ports.
const PLAIN_RECIPE: &str = "\
for family in ip ip6; do
  nft add table $family plain
  nft add chain $family plain post '{ type nat hook postrouting priority srcnat; }'
  nft add rule $family plain post udp dport 53 masquerade fully-random
done";

fn heading(text: &str) -> anyhow::Result<()> {
    Ok(output::print(&format!("\n{}\n\n", paint(Tone::Strong, text)))?)
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect()
}

/// `44444` or `9374, 54743, 2201, 60123`: the first port of each flow.
fn seen_ports(report: &Report) -> String {
    let mut ports: Vec<u16> =
        report.servers.iter().filter_map(|server| server.wire_ports.first().copied()).collect();
    ports.dedup();
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `1 of 4`: the fewest different ports of any flow.
fn distinct(report: &Report) -> String {
    let fewest = report.servers.iter().min_by_key(|server| server.distinct_ports);
    fewest.map_or_else(
        || "nothing".to_owned(),
        |server| match server.distinct_ports {
            1 => format!("1 port for {} queries", server.wire_ports.len()),
            many => format!("{many} ports for {} queries", server.wire_ports.len()),
        },
    )
}
