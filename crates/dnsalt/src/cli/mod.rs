//! The command line: its definition feeds the parser, the help, the man pages and the completions.

mod policy;
mod serve;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use dnsalt_nat::driver::Backend;
use dnsalt_nat::render::Firewall;
use dnsalt_policy::{InterfaceName, Prefix};

pub(crate) use policy::PolicyArgs;
pub(crate) use serve::ServeArgs;

const EXIT_CODES: &str = "\
Exit codes: 0 fine, 1 found weak or not as expected, 2 usage, 3 could not do it.";

/// Protect DNS resolvers and clients nobody can patch from off-path cache poisoning
///
/// dnsalt gives every DNS query that leaves this machine, or passes through it, a random source
/// port, even where the program that asks insists on a fixed one; and it proves on the wire that
/// it does.
#[derive(Debug, Parser)]
#[command(name = "dnsalt", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Where the state is kept, for tests
    #[arg(long, global = true, hide = true, default_value = "/run/dnsalt", value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Protect everything that leaves this machine, or passes through it
    Up(UpArgs),
    /// Protect, and keep it so: for systemd
    ///
    /// Installs the policy as `up` does and stays: puts it back when somebody flushes the rules,
    /// follows interfaces that come and go, gives new keys, tells of attacks. Reads the policy again
    /// on SIGHUP. When it stops, the protection stays.
    Run(RunArgs),
    /// Keep what `up --confirm` installed
    Confirm,
    /// Put everything back as it was
    Down,
    /// Show what is installed, and how strong it is
    Status(StatusArgs),
    /// Watch the protection live: queries, ports, forged replies, headroom
    Watch(WatchArgs),
    /// Tell from captures, or live, who asks predictably and how bad it is
    Check(CheckArgs),
    /// Write the queries of captures as Parquet, to be judged elsewhere: by `judge`, or in SQL
    ///
    /// One row for each query with its reply, and for each reply that is none of a query. All files appear, or
    /// none; the same captures give files of the same names.
    Extract(ExtractArgs),
    /// Judge rows of `extract`: one worker of many
    ///
    /// Reads Arrow record batches whose rows are grouped by resolver, and writes one row for each resolver.
    Judge(JudgeArgs),
    /// Show on the wire which ports queries leave from
    Prove(ProveArgs),
    /// Answer for a zone of one's own, and judge who resolves through it: a port test
    ///
    /// An authoritative name server for one delegated zone. `dig +short TXT porttest.ZONE` makes a resolver
    /// ask it 28 times, and answers with what a forger would have had to guess; likewise txidtest.ZONE and, as
    /// JSON, check.ZONE.
    Serve(ServeArgs),
    /// Only print the rules, for a firewall that is not ours
    Rules(RulesArgs),
    /// Show the configuration file
    Config(ConfigArgs),
    /// A whole network in namespaces: experiments that touch nothing else
    #[command(subcommand)]
    Lab(LabCommand),
    /// Undo an `up --confirm` that nobody confirms
    #[command(hide = true)]
    UndoLater(UndoLaterArgs),
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "give ports from 1 to 65535 with commas between, like 53,5353".to_owned())
}

/// Which engine randomises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineChoice {
    /// The strongest that this machine has.
    Auto,
    /// The kernel's NAT: a random port for each flow, or for each query.
    Nat,
    /// An eBPF program: a random port and a random ID for each query, and only the right reply back.
    Salt,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Which engine randomises
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: EngineChoice,

    /// File system that keeps what the salt engine needs [default: /sys/fs/bpf]
    #[arg(long, value_name = "DIR")]
    pub(crate) bpffs: Option<PathBuf>,

    /// Firewall of the nat engine: auto, nft, iptables, iptables-nft, iptables-legacy
    #[arg(long, default_value = "auto")]
    pub(crate) backend: Backend,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Undo it after this time unless `dnsalt confirm` comes first
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) confirm: Option<Duration>,

    /// Name that must resolve through the new rules [default: a new one under root-servers.net]
    #[arg(long, value_name = "NAME", conflicts_with = "no_health")]
    pub(crate) health_name: Option<String>,

    /// Do not check that names still resolve
    #[arg(long)]
    pub(crate) no_health: bool,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Which engine randomises
    #[arg(long, value_enum, default_value = "auto")]
    engine: EngineChoice,

    /// File system that keeps what the salt engine needs [default: /sys/fs/bpf]
    #[arg(long, value_name = "DIR")]
    bpffs: Option<PathBuf>,

    /// Firewall of the nat engine: auto, nft, iptables, iptables-nft, iptables-legacy
    #[arg(long, default_value = "auto")]
    backend: Backend,

    /// Take the protection away when the agent ends
    #[arg(long)]
    pub(crate) down_on_exit: bool,

    /// Program that is started on near misses, lockdowns and full tables, with DNSALT_... in its
    /// environment
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) exec_on_alert: Option<PathBuf>,

    /// Keep forged packets in this pcapng file and in FILE.1, which was full before it (salt engine)
    #[arg(long, value_name = "FILE")]
    pub(crate) save_forged: Option<PathBuf>,

    /// What both may have together, in MB
    #[arg(long, value_name = "MB", default_value_t = 16, requires = "save_forged",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) save_forged_size: u64,

    /// Serve metrics and /healthz at ADDRESS:PORT, unix:PATH, or none [default: 127.0.0.1:9853 and
    /// a socket below /run/dnsalt]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) metrics: Vec<crate::metrics::Address>,

    /// How the log is written
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) log: crate::agent::Format,

    #[command(flatten)]
    policy: PolicyArgs,
}

impl RunArgs {
    /// What `up` would be asked for.
    pub(crate) fn up(&self) -> UpArgs {
        let run = self.clone();
        UpArgs {
            engine: run.engine,
            bpffs: run.bpffs,
            backend: run.backend,
            dry_run: false,
            confirm: None,
            health_name: None,
            // A resolver that starts after us answers nobody yet.
            no_health: true,
            policy: run.policy,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Watch these interfaces [default: those of the policy, or all but lo]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) iface: Vec<InterfaceName>,

    /// How often the picture is renewed
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(60));
    duration(text).and_then(|interval| match interval {
        i if i < least => Err("less than 100ms; give more".to_owned()),
        i if i > most => Err("more than 60s; give less".to_owned()),
        i => Ok(i),
    })
}

#[derive(Clone, Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is an option of its own
pub(crate) struct CheckArgs {
    /// Capture files (pcap, pcapng, .gz, .zst), folders of them, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Watch this interface, until Ctrl-C or for as long as --for says
    #[arg(long, value_name = "NAME", conflicts_with = "files")]
    pub(crate) iface: Option<InterfaceName>,

    /// How long to watch
    #[arg(long = "for", value_name = "TIME", value_parser = duration, requires = "iface")]
    pub(crate) time: Option<Duration>,

    /// A capture from inside a NAT, to be compared with --outside: what does it do to ports?
    #[arg(long, value_name = "FILE", requires = "outside",
          conflicts_with_all = ["files", "iface", "merge", "html", "csv", "state_out"])]
    pub(crate) inside: Option<PathBuf>,

    /// A capture of the same time from outside the NAT
    #[arg(long, value_name = "FILE", requires = "inside")]
    pub(crate) outside: Option<PathBuf>,

    /// Also take in these states, written by --state-out
    #[arg(long, value_name = "STATE", num_args = 1..)]
    pub(crate) merge: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    #[command(flatten)]
    pub(crate) terms: JudgementArgs,

    /// List and explain all clients
    #[arg(long, help_heading = "Output")]
    pub(crate) all: bool,

    /// Print JSON
    #[arg(long, conflicts_with = "csv", help_heading = "Output")]
    pub(crate) json: bool,

    /// Print comma-separated values
    #[arg(long, help_heading = "Output")]
    pub(crate) csv: bool,

    /// Also write the report as a page with plots, which needs nothing from elsewhere
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) html: Option<PathBuf>,

    /// Write what was learnt to STATE, to be merged with that of other machines
    #[arg(long, value_name = "STATE", help_heading = "Output")]
    pub(crate) state_out: Option<PathBuf>,

    /// Threads to read and judge with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
}

/// Which packets are looked at, and whose they are.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScopeArgs {
    /// Ports that DNS is asked on
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = port, default_value = "53")]
    pub(crate) dns_port: Vec<u16>,

    /// All addresses of this prefix are one client's: for who draws its source address
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub(crate) one_client: Vec<Prefix>,
}

/// How to judge.
#[derive(Clone, Debug, Args)]
pub(crate) struct JudgementArgs {
    /// What the attacker sends: bits a second in packets of 100 bytes (100Mbit), or packets (50000pps)
    #[arg(long, value_name = "RATE", value_parser = rate, default_value = "100Mbit",
          help_heading = "Judgement")]
    pub(crate) attacker: f64,

    /// Servers that the right reply may come from, which the attacker has to guess
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..),
          default_value = "1", help_heading = "Judgement")]
    pub(crate) servers: u16,

    /// Look harder: generators of several worker threads, long lags; takes seconds for each client
    #[arg(long, help_heading = "Judgement")]
    pub(crate) deep: bool,

    /// Also estimate the min-entropy by NIST SP 800-90B: a side number, never the verdict
    #[arg(long, help_heading = "Judgement")]
    pub(crate) min_entropy: bool,
}

/// Captures into columns.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExtractArgs {
    /// Capture files (pcap, pcapng, .gz, .zst), folders of them, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Where to: a folder for each hour, and in it one for each of 16 parts of the resolvers
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    /// Print JSON
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Threads to read and write with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
}

/// Columns into verdicts.
#[derive(Clone, Debug, Args)]
pub(crate) struct JudgeArgs {
    /// Arrow IPC streams on standard input and output
    #[arg(long, required = true)]
    pub(crate) arrow: bool,

    /// Read verdicts instead, of all resolvers, and print the chances up to which statistics count
    #[arg(long, conflicts_with = "control")]
    pub(crate) limits: bool,

    /// Read verdicts instead, and weigh them once more by these chances, as --limits printed them
    #[arg(long, value_name = "JSON")]
    pub(crate) control: Option<String>,

    #[command(flatten)]
    pub(crate) terms: JudgementArgs,
}

fn threads(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=256).contains(n)).ok_or_else(|| "give 1 to 256".to_owned())
}

/// Packets a second.
fn rate(text: &str) -> Result<f64, String> {
    let wrong = || "write it like 100Mbit, 1Gbit or 50000pps".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bits = |factor: f64| number * factor / 8.0 / dnsalt_audit::attack::PACKET;
    let rate = match unit.to_ascii_lowercase().trim_end_matches("/s") {
        "pps" => number,
        "kbit" => bits(1e3),
        "mbit" => bits(1e6),
        "gbit" => bits(1e9),
        _ => return Err(wrong()),
    };
    if (1.0..=1e12).contains(&rate) {
        Ok(rate)
    } else {
        Err("less than one packet a second, or more than there are".to_owned())
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ProveArgs {
    /// Server to ask, with an optional port [default: those of resolv.conf]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = server)]
    pub(crate) server: Vec<Server>,

    /// Queries to each server
    #[arg(long, short = 'n', value_name = "N", default_value = "4",
          value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(crate) count: u16,

    /// The fixed source port to ask from
    #[arg(long, value_name = "PORT", default_value = "44444",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) sport: u16,

    /// Address to ask from, for a scope that `up --from` narrowed
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<IpAddr>,

    /// Time between two queries to one server
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = duration)]
    pub(crate) gap: Duration,

    /// Also find out for how long a port sticks; takes up to a minute
    #[arg(long, conflicts_with = "tcp")]
    pub(crate) sticky: bool,

    /// Ask over TCP
    #[arg(long)]
    pub(crate) tcp: bool,

    /// Names asked for are made up under this one
    #[arg(long, value_name = "NAME", default_value = "test")]
    pub(crate) name: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server(pub(crate) SocketAddr);

fn server(text: &str) -> Result<Server, String> {
    text.parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, 53))
        .or_else(|_| text.parse::<SocketAddr>())
        .map(Server)
        .map_err(|_| "give an address like 192.0.2.53, 2001:db8::53 or 192.0.2.53:5353".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// Which firewall
    #[arg(long = "for", value_enum, value_name = "FIREWALL")]
    pub(crate) firewall: FirewallChoice,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// A firewall by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FirewallChoice {
    /// Linux nftables.
    Nft,
    /// Linux iptables and ip6tables.
    Iptables,
    /// OpenBSD's pf.
    PfOpenbsd,
    /// FreeBSD's pf.
    PfFreebsd,
}

impl From<FirewallChoice> for Firewall {
    fn from(choice: FirewallChoice) -> Self {
        match choice {
            FirewallChoice::Nft => Firewall::Nft,
            FirewallChoice::Iptables => Firewall::Iptables,
            FirewallChoice::PfOpenbsd => Firewall::PfOpenbsd,
            FirewallChoice::PfFreebsd => Firewall::PfFreebsd,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Print a documented sample of /etc/dnsalt.toml
    #[arg(long, required = true)]
    pub(crate) sample: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// The experiment of 2008: what servers see of a fixed port, before and after
    Recipe,
    /// A real attack on a real resolver: how long it holds without protection, and with it
    ///
    /// An off-path attacker poisons the cache of BIND 9 with a fixed port, then tries the same with
    /// dnsalt on the gateway. Everything happens in namespaces that this command makes; it takes no
    /// address.
    Attack(AttackArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AttackArgs {
    /// Every resolver, protection and attack, and what is measured against the formula (an hour)
    #[arg(long, conflicts_with = "scenario")]
    pub(crate) full: bool,

    /// Run this scenario: a file, or a name of --list
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(crate) scenario: Vec<PathBuf>,

    /// Show the scenarios that are part of the program
    #[arg(long)]
    pub(crate) list: bool,

    /// How long each attack lasts at most [default: as the scenario says; 10s with --full]
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "scenario")]
    pub(crate) time: Option<Duration>,

    /// Write a page with the report
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UndoLaterArgs {
    /// How long to wait, in milliseconds.
    pub(crate) milliseconds: u64,
    /// The mark of the `up` that is to be undone.
    pub(crate) token: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    };
    match parsed {
        Ok(duration) if duration <= Duration::from_secs(86_400) => Ok(duration),
        Ok(_) => Err("more than a day; give less".to_owned()),
        Err(_) => Err("write it like 60s, 5m or 250ms".to_owned()),
    }
}

/// Parses the command line of this process.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse()
}

/// The definition, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_key_of_the_file_is_an_option() {
        let command = command();
        for verb in ["up", "rules"] {
            let verb = command.find_subcommand(verb).unwrap();
            for key in dnsalt_policy::Settings::KEYS {
                assert!(verb.get_arguments().any(|arg| arg.get_long() == Some(key)), "{key}");
            }
        }
    }

    #[test]
    fn times_are_read() {
        assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("soon").is_err());
        assert!(duration("3 days").is_err());
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert!(interval("10ms").is_err() && interval("2m").is_err());
    }
}
