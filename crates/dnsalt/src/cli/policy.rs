//! The options that make a policy: the keys of the configuration file.

use std::path::PathBuf;

use clap::Args;
use dnsalt_policy::{
    Case, CaseExempt, Conntrack, Cookies, Fragments, InterfaceName, OnFull, OnNearMiss, PortRange,
    Prefix, Protocol, Settings, Source,
};

use super::port;

/// What to salt; the same keys as in the configuration file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PolicyArgs {
    /// Read the policy from FILE [default: /etc/dnsalt.toml if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Salt queries from these sources only [default: everything that leaves]
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', help_heading = "Which queries")]
    from: Option<Vec<Prefix>>,

    /// Salt queries to these servers only
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', help_heading = "Which queries")]
    to: Option<Vec<Prefix>>,

    /// Salt queries that leave through these interfaces only [default: all but lo]
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Which queries")]
    iface: Option<Vec<InterfaceName>>,

    /// Ports that DNS is asked on [default: 53]
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = port,
          help_heading = "Which queries")]
    dns_port: Option<Vec<u16>>,

    /// Transports: udp, tcp [default: udp,tcp]
    #[arg(long, value_name = "PROTO", value_delimiter = ',', help_heading = "Which queries")]
    proto: Option<Vec<Protocol>>,

    /// Source ports to draw from [default: 1024-65535]
    #[arg(long, value_name = "LO-HI", help_heading = "What they leave with")]
    ports: Option<PortRange>,

    /// Ports never to use, or none [default: 4789,4791,8472,11211 and, for up, those reserved]
    #[arg(long, value_name = "PORTS", value_parser = avoid_list, help_heading = "What they leave with")]
    avoid: Option<AvoidList>,

    /// masquerade, keep, addresses like 192.0.2.1-192.0.2.4, or prefixes (salt) [default: masquerade]
    #[arg(long, value_name = "SOURCE", help_heading = "What they leave with")]
    source: Option<Source>,

    /// A port of its own for every query, not for every flow (UDP, nftables)
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true,
          value_name = "BOOL", help_heading = "For how long")]
    per_query: Option<bool>,

    /// Seconds that an unanswered UDP query keeps its port, 0 for the kernel's own [default: 2]
    #[arg(long, value_name = "SECONDS", help_heading = "For how long")]
    timeout: Option<u64>,

    #[command(flatten)]
    salt: SaltArgs,
}

/// What only the salt engine has.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The salt engine")]
struct SaltArgs {
    /// Seconds that a query waits for its reply [default: 5]
    #[arg(long, value_name = "SECONDS")]
    lifetime: Option<u64>,

    /// Identical queries outstanding at a time, at most; 0 for any number [default: 4]
    #[arg(long, value_name = "N")]
    max_identical: Option<u64>,

    /// A query for which there is no room: pass, drop [default: pass]
    #[arg(long, value_name = "WORD")]
    on_full: Option<OnFull>,

    /// After a forged reply to the right port: tcp, drop [default: tcp]
    #[arg(long, value_name = "WORD")]
    on_near_miss: Option<OnNearMiss>,

    /// So many of them in a second send all queries to a server to TCP; 0 never [default: 64]
    #[arg(long, value_name = "N")]
    lockdown_after: Option<u64>,

    /// More replies in a second that no query waits for do the same; 0 never [default: 1000]
    #[arg(long, value_name = "N")]
    lockdown_unsolicited: Option<u64>,

    /// Replies in fragments: pass, drop [default: pass]
    #[arg(long, value_name = "WORD")]
    fragments: Option<Fragments>,

    /// Clients that cannot do TCP, and are never sent there
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    no_tcp: Option<Vec<Prefix>>,

    /// Random case of letters in names: learn, on, off [default: learn]
    #[arg(long, value_name = "WORD")]
    case: Option<Case>,

    /// Servers and domains whose case is left alone
    #[arg(long, value_name = "PREFIX|DOMAIN", value_delimiter = ',')]
    case_exempt: Option<Vec<CaseExempt>>,

    /// DNS cookies for queries of clients that send none: off, on [default: off]
    #[arg(long, value_name = "WORD")]
    cookies: Option<Cookies>,

    /// Whether conntrack sees salted queries: on, off (nftables) [default: on]
    #[arg(long, value_name = "WORD")]
    conntrack: Option<Conntrack>,
}

/// Ports to avoid; a type of its own, since clap takes a bare list apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct AvoidList(Vec<PortRange>);

fn avoid_list(text: &str) -> Result<AvoidList, dnsalt_policy::PolicyError> {
    if text == "none" {
        return Ok(AvoidList::default());
    }
    text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map(AvoidList)
}

impl PolicyArgs {
    /// What the command line says of the policy.
    pub(crate) fn settings(&self) -> Settings {
        let args = self.clone();
        Settings {
            from: args.from,
            to: args.to,
            iface: args.iface,
            dns_port: args.dns_port,
            proto: args.proto,
            ports: args.ports,
            avoid: args.avoid.map(|AvoidList(list)| list),
            source: args.source,
            per_query: args.per_query,
            timeout: args.timeout,
            lifetime: args.salt.lifetime,
            max_identical: args.salt.max_identical,
            on_full: args.salt.on_full,
            on_near_miss: args.salt.on_near_miss,
            lockdown_after: args.salt.lockdown_after,
            lockdown_unsolicited: args.salt.lockdown_unsolicited,
            fragments: args.salt.fragments,
            no_tcp: args.salt.no_tcp,
            case: args.salt.case,
            case_exempt: args.salt.case_exempt,
            cookies: args.salt.cookies,
            conntrack: args.salt.conntrack,
        }
    }
}
