//! What the experiment showed: one model, rendered as text and as JSON.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::{Asked, Plan, Sighting};

/// What was seen of the queries to one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ServerReport {
    pub(crate) server: SocketAddr,
    pub(crate) queries: usize,
    pub(crate) answered: usize,
    /// The source ports on the wire, in the order of time.
    pub(crate) wire_ports: Vec<u16>,
    /// The source addresses on the wire.
    pub(crate) wire_addresses: Vec<IpAddr>,
    pub(crate) distinct_ports: usize,
    /// Queries that left with another ID than they were asked with.
    pub(crate) other_ids: usize,
    pub(crate) judgement: Judgement,
}

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Judgement {
    /// No query left from the port that was asked for.
    Random,
    /// Queries left from the port that was asked for.
    Fixed,
    /// No query was seen leaving.
    NotSeen,
}

/// The whole experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// The port that was asked for.
    pub(crate) sport: u16,
    pub(crate) tcp: bool,
    pub(crate) servers: Vec<ServerReport>,
    /// Whether every server saw other ports than the fixed one.
    pub(crate) protected: bool,
}

impl Report {
    /// Puts together what was asked and what was seen.
    pub(crate) fn new(plan: &Plan, asked: &[Asked], seen: &[Sighting]) -> Self {
        let servers: Vec<_> =
            plan.servers.iter().map(|server| server_report(plan, *server, asked, seen)).collect();
        let protected = servers.iter().all(|server| server.judgement == Judgement::Random);
        Report { sport: plan.sport, tcp: plan.tcp, servers, protected }
    }

    /// Whether nothing was seen at all: then there is nothing to judge.
    pub(crate) fn saw_nothing(&self) -> bool {
        self.servers.iter().all(|server| server.judgement == Judgement::NotSeen)
    }

    /// Whether no query was left without its answer.
    pub(crate) fn all_answered(&self) -> bool {
        self.servers.iter().all(|server| server.answered == server.queries)
    }

    /// The table, 80 columns at most for IPv4.
    pub(crate) fn table(&self) -> String {
        let width = self.servers.iter().map(|s| shown(s.server).len()).max().unwrap_or(0).max(6);
        let mut text = format!(
            "{:width$}  {:10}  {:26}  {:>5}  Answered\n",
            "Server", "Asked from", "Left from", "Ports"
        );
        for server in &self.servers {
            text += &format!(
                "{:width$}  {:<10}  {:26}  {:>5}  {} of {}\n",
                shown(server.server),
                self.sport,
                ports(&server.wire_ports),
                server.distinct_ports,
                server.answered,
                server.queries,
            );
        }
        text
    }

    /// The verdict, in words.
    pub(crate) fn verdict(&self) -> String {
        let those = |judgement| {
            let those = self.servers.iter().filter(|server| server.judgement == judgement);
            those.map(|server| shown(server.server)).collect::<Vec<_>>().join(", ")
        };
        let fixed = those(Judgement::Fixed);
        if !fixed.is_empty() {
            let sport = self.sport;
            return format!("Not protected: to {fixed} queries left from port {sport} itself.");
        }
        let unseen = those(Judgement::NotSeen);
        if !unseen.is_empty() {
            return format!("Not proven: no query to {unseen} was seen leaving.");
        }
        let all = if self.servers.len() == 1 { "the server" } else { "every server" };
        let sticks = self.servers.iter().any(|s| s.distinct_ports < s.wire_ports.len());
        // One ID of 65,536 is drawn as it was.
        let other_ids =
            self.servers.iter().all(|s| s.other_ids > 0 && s.other_ids + 1 >= s.wire_ports.len());
        let how = match (sticks, other_ids) {
            (true, _) => "a random port for each flow (within a flow it sticks)",
            (false, false) => "a new random port for every query",
            (false, true) => "a new random port and query ID for every query",
        };
        format!("Protected: asked from port {}, {all} saw\n{how}.", self.sport)
    }
}

fn server_report(
    plan: &Plan,
    server: SocketAddr,
    asked: &[Asked],
    seen: &[Sighting],
) -> ServerReport {
    let asked: Vec<_> = asked.iter().filter(|query| query.server == server).collect();
    let left: Vec<_> = seen
        .iter()
        .filter(|s| s.outgoing && !s.response && s.destination == server)
        .filter(|s| asked.iter().any(|query| query.name == s.name))
        .collect();
    let wire_ports: Vec<u16> = left.iter().map(|s| s.source.port()).collect();
    let fixed = wire_ports.iter().filter(|port| **port == plan.sport).count();
    // One of several may be the fixed port by chance, once in as many queries as there are ports.
    let judgement = match fixed {
        _ if wire_ports.is_empty() => Judgement::NotSeen,
        0 => Judgement::Random,
        1 if wire_ports.len() > 1 => Judgement::Random,
        _ => Judgement::Fixed,
    };
    let distinct = |ports: &[u16]| ports.iter().collect::<BTreeSet<_>>().len();
    ServerReport {
        server,
        queries: asked.len(),
        answered: asked.iter().filter(|query| query.answered).count(),
        distinct_ports: distinct(&wire_ports),
        other_ids: left
            .iter()
            .filter(|s| asked.iter().any(|q| q.name == s.name && q.id.is_some_and(|id| id != s.id)))
            .count(),
        wire_ports,
        wire_addresses: left
            .iter()
            .map(|s| s.source.ip())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        judgement,
    }
}

/// The address, with the port where it is not 53.
fn shown(server: SocketAddr) -> String {
    if server.port() == 53 { server.ip().to_string() } else { server.to_string() }
}

/// The first three different ports, and how many more there are.
fn ports(ports: &[u16]) -> String {
    let mut distinct: Vec<u16> = Vec::new();
    for port in ports {
        if !distinct.contains(port) {
            distinct.push(*port);
        }
    }
    let shown: Vec<_> = distinct.iter().take(3).map(ToString::to_string).collect();
    match distinct.len() {
        0 => "not seen".to_owned(),
        1 if ports.len() > 1 => format!("{} each time", shown[0]),
        1..=3 => shown.join(", "),
        more => format!("{} +{}", shown.join(", "), more - 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn experiment(wire_ports: &[u16]) -> Report {
        let server: SocketAddr = "192.0.2.53:53".parse().unwrap();
        let plan = Plan {
            servers: vec![server],
            count: 4,
            sport: 44444,
            bind: None,
            gap: Duration::ZERO,
            tcp: false,
            zone: "z.test".to_owned(),
        };
        let asked: Vec<_> = (0..4)
            .map(|round| Asked {
                server,
                name: format!("{round}-0.z.test"),
                id: Some(7),
                answered: round != 3,
            })
            .collect();
        let seen: Vec<_> = wire_ports
            .iter()
            .zip(&asked)
            .map(|(port, asked)| Sighting {
                time: SystemTime::UNIX_EPOCH,
                interface: "eth0".to_owned(),
                outgoing: true,
                source: SocketAddr::new("198.51.100.1".parse().unwrap(), *port),
                destination: server,
                tcp: false,
                id: 7,
                response: false,
                rcode: 0,
                name: asked.name.clone(),
            })
            .collect();
        Report::new(&plan, &asked, &seen)
    }

    #[test]
    fn the_fixed_port_on_the_wire_is_not_protected() {
        let report = experiment(&[44444; 4]);
        assert!(!report.protected);
        assert!(report.verdict().starts_with("Not protected: to 192.0.2.53"));
        assert!(!experiment(&[44444, 9, 44444, 8]).protected, "some of them are enough");
    }

    #[test]
    fn other_ports_are_protected_and_sticking_is_told() {
        let sticky = experiment(&[9374; 4]);
        assert!(sticky.protected);
        assert!(sticky.verdict().contains("(within a flow it sticks)"));
        assert!(sticky.table().contains("9374 each time"));
        let fresh = experiment(&[1025, 9374, 54743, 2000]);
        assert!(fresh.verdict().contains("for every query"));
        assert!(fresh.table().contains("1025, 9374, 54743 +1"));
        assert!(fresh.table().contains("3 of 4"));
        assert!(experiment(&[44444, 9, 7, 8]).protected, "once by chance");
    }

    #[test]
    fn other_ids_are_told() {
        let plan_of = |id| {
            let mut report = experiment(&[1025, 9374, 54743, 2000]);
            report.servers[0].other_ids = id;
            report.verdict()
        };
        assert!(plan_of(4).contains("random port and query ID for every query"));
        assert!(plan_of(3).contains("query ID"), "once by chance");
        assert!(!plan_of(0).contains("query ID"));
    }

    #[test]
    fn what_was_not_seen_is_not_proven() {
        let report = experiment(&[]);
        assert!(!report.protected);
        assert!(report.saw_nothing());
        assert!(report.verdict().starts_with("Not proven"));
    }

    #[test]
    fn the_table_fits_a_terminal() {
        for line in experiment(&[65535, 65534, 65533, 65532]).table().lines() {
            assert!(line.len() <= 80, "{line}");
        }
    }
}
