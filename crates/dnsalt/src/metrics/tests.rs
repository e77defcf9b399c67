//! What is exported, of both engines: made up, and from a kernel.

use std::collections::{BTreeSet, HashSet};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dnsalt_bpf::{Hook, Occupancy};
use dnsalt_lab::{Host, require, require_root, topology};
use dnsalt_nat::conntrack::Usage;
use dnsalt_nat::driver::Backend;
use dnsalt_nat::strength::Strength;
use dnsalt_policy::{Family as AddressFamily, Settings};
use dnsalt_salt::layout::{Config, Counter};

use super::catalogue::ALL;
use super::family::{Family, Kind};
use super::*;
use crate::configuration::Configured;
use crate::engine::{Engine, Nat, Salt, SaltReport};
use crate::state::{Complete, Installation, State};
use crate::status::{Bits, Conntrack, Status};

fn status(engine: &'static str, backend: &str) -> Status {
    Status {
        protected: true,
        problems: Vec::new(),
        engine: Some(engine),
        backend: Some(backend.to_owned()),
        since: Some(1_700_000_000),
        scope: None,
        settings: Some(Settings::default()),
        caught: Some(17),
        unsolicited: None,
        lacks: None,
        conntrack: None,
        strength: None,
        salt: None,
        undone_at: None,
        ports: Some(64_508),
        bpffs: None,
    }
}

fn salt() -> Reading {
    let policy = Settings::default().resolve().unwrap();
    let mut counters = [0; Counter::ALL.len()];
    counters.iter_mut().zip(1..).for_each(|(counter, value)| *counter = value);
    let interfaces = vec![("wan0".to_owned(), Hook::Tcx)];
    let installed = dnsalt_bpf::Installed { config: Config::default(), interfaces, counters };
    let salt = Some(SaltReport::of(&policy, &installed));
    let occupancy =
        Occupancy { ports: 64_508, outstanding: [0, 0, 16_127, 0, 0, 0, 0, 3], locked_down: 2 };
    Reading { status: Status { salt, ..status("salt", "tcx") }, occupancy: Some(occupancy) }
}

fn nat() -> Reading {
    let per_query = Settings { per_query: Some(true), ..Settings::default() };
    let strength = Strength::new(&per_query.resolve().unwrap(), AddressFamily::V4, 2);
    let bits = Bits { strength, open: 127, now: 9.0, worst: 0.0, cap: strength.cap() };
    let status = Status {
        unsolicited: Some(4),
        lacks: Some("something".to_owned()),
        conntrack: Some(Conntrack {
            dns_entries: 130,
            usage: Usage { entries: 5_000, max: 262_144 },
        }),
        strength: Some(bits),
        ..status("nat", "nft")
    };
    Reading { status, occupancy: None }
}

fn counters() -> Arc<AgentCounters> {
    let counters = AgentCounters::default();
    counters.event(EventKind::Lockdown);
    counters.protection_lost();
    counters.protection_restored();
    counters.reloaded(true);
    counters.reloaded(false);
    counters.key_renewed(true);
    counters.executed(ExecResult::Skipped);
    Arc::new(counters)
}

fn metrics(reading: fn() -> Reading) -> Metrics {
    Metrics::reading(counters(), move || Ok(reading()))
}

/// What both engines export, as text.
pub(super) fn exported() -> [String; 2] {
    [salt, nat].map(|reading| metrics(reading).metrics(Format::Text))
}

#[test]
fn all_that_is_in_the_catalogue_is_exported_and_nothing_else() {
    let both: Vec<Family> =
        [salt, nat].into_iter().flat_map(|reading| metrics(reading).families().0).collect();
    let names: BTreeSet<_> = both.iter().map(|family| family.definition.name).collect();
    assert_eq!(names, ALL.iter().map(|definition| definition.name).collect());
    for family in &both {
        for sample in &family.samples {
            for ((_, value), (label, values)) in sample.labels.iter().zip(family.definition.labels)
            {
                let known = values.is_empty() || values.contains(&value.as_str());
                assert!(known, "{}: {label}={value}", family.definition.name);
            }
        }
    }
}

#[test]
fn names_are_those_of_the_conventions() {
    for definition in ALL {
        let name = definition.name;
        assert!(name.starts_with("dnsalt_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), definition.kind == Kind::Counter, "{name}");
        let stem = name.trim_end_matches("_total");
        let unit = ["seconds", "bytes", "ratio"]
            .into_iter()
            .find(|unit| stem.ends_with(&format!("_{unit}")));
        assert_eq!(unit, definition.unit, "{name}");
        assert!(definition.help.ends_with('.') && !definition.help.contains('"'), "{name}");
        assert!(definition.stem().len() < name.len() || definition.kind == Kind::Gauge, "{name}");
    }
}

#[test]
fn numbers_are_those_of_the_reading() {
    let [salt, nat] = exported();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        &format!("dnsalt_info{{version=\"{version}\",engine=\"salt\",backend=\"tcx\"}} 1"),
        "dnsalt_protected 1",
        "dnsalt_problems 0",
        "dnsalt_key_age_seconds 0",
        "dnsalt_id_entropy{case=\"worst\"} 16.0",
        "dnsalt_salt_queries_total{outcome=\"table_full\"} 4",
        "dnsalt_salt_replies_dropped_total{reason=\"wrong_id\"} 13",
        "dnsalt_salt_outstanding_queries 16130",
        "dnsalt_salt_slots 516064",
        "dnsalt_salt_headroom_ratio 0.75",
        "dnsalt_salt_locked_down_servers 2",
        "dnsalt_events_total{kind=\"lockdown\"} 1",
        "dnsalt_last_reload_success 0",
        "dnsalt_execs_total{result=\"skipped\"} 1",
    ] {
        assert!(salt.lines().any(|found| found == line), "{line}\n{salt}");
    }
    for line in [
        "dnsalt_nat_flows_total 17",
        "dnsalt_nat_unsolicited_dropped_total 4",
        "dnsalt_nat_shield_complete 0",
        "dnsalt_nat_max_queries_per_second 32254",
        "dnsalt_port_entropy{case=\"now\"} 9.0",
        "dnsalt_conntrack_max_entries 262144",
    ] {
        assert!(nat.lines().any(|found| found == line), "{line}\n{nat}");
    }
    assert!(!nat.contains("dnsalt_salt_") && !salt.contains("dnsalt_nat_"));
}

#[test]
fn a_kernel_that_does_not_answer_is_no_protection() {
    let broken = || Metrics::reading(counters(), || anyhow::bail!("nft: not found"));
    let text = broken().metrics(Format::Text);
    assert!(text.contains("\ndnsalt_protected 0\n"), "{text}");
    assert!(text.contains("dnsalt_kernel_reads_total{result=\"failed\"} 1\n"), "{text}");
    let health = broken().health();
    assert_eq!((health.protected, health.problems), (false, vec!["nft: not found".to_owned()]));
    let nothing = Status { protected: false, engine: None, ..status("nat", "nft") };
    let nothing = std::sync::Mutex::new(Some(nothing));
    let metrics = Metrics::reading(counters(), move || {
        let status = nothing.lock().unwrap().take().unwrap();
        Ok(Reading { status, occupancy: None })
    });
    assert!(metrics.health().problems[0].contains("nothing is installed"));
    assert!(metrics.metrics(Format::Text).contains("engine=\"none\""));
}

/// What every parser of `OpenMetrics` 1.0 wants: metadata before samples, in one place, and an end.
#[test]
fn open_metrics_is_well_formed() {
    for reading in [salt, nat] {
        let text = metrics(reading).metrics(Format::OpenMetrics);
        let body = text.strip_suffix("# EOF\n").expect("an end");
        let (mut family, mut unit, mut kind) = ("", "", "");
        let (mut families, mut series) = (HashSet::new(), HashSet::new());
        for line in body.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["#", "HELP", name, ..] => {
                    assert!(families.insert(name), "{name} comes twice");
                    (family, unit, kind) = (name, "", "");
                }
                ["#", "TYPE", name, of] => {
                    assert_eq!(name, family);
                    kind = of;
                }
                ["#", "UNIT", name, of] => {
                    assert_eq!(name, family);
                    unit = of;
                }
                [.., value] => {
                    let (id, _) = line.rsplit_once(' ').unwrap();
                    assert!(series.insert(id), "{id} comes twice");
                    let suffix = id.split('{').next().unwrap().strip_prefix(family).unwrap();
                    let wanted = match kind {
                        "counter" => "_total",
                        "info" => "_info",
                        _ => "",
                    };
                    assert_eq!(suffix, wanted, "{line}");
                    assert!(family.ends_with(unit) && value.parse::<f64>().is_ok(), "{line}");
                }
                [] => panic!("an empty line"),
            }
        }
    }
}

/// Prometheus' own checker: installed, or unpacked by `./x test` beside what is built.
pub(super) fn promtool() -> Option<PathBuf> {
    let ours = std::env::current_exe().unwrap();
    let unpacked = ours.ancestors().map(|folder| folder.join("tools/prometheus/usr/bin/promtool"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("promtool"));
    let found = installed.chain(unpacked).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: not installed: promtool");
    }
    found
}

#[test]
fn promtool_has_nothing_to_complain_of() {
    let Some(promtool) = promtool() else { return };
    for text in exported() {
        let mut child = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        let said = [ended.stdout, ended.stderr].concat();
        assert_eq!(String::from_utf8_lossy(&said), "", "{text}");
        assert!(ended.status.success());
    }
}

/// A row of docs/reference/metrics.md.
fn row(definition: &family::Definition) -> String {
    let label = |(name, values): &(&str, &[&str])| match values {
        [] => format!("`{name}`"),
        values => format!("`{name}`: {}", values.join(", ")),
    };
    let labels: Vec<_> = definition.labels.iter().map(label).collect();
    let (unit, labels) = (definition.unit.unwrap_or(""), labels.join("; "));
    format!(
        "| `{}` | {} | {unit} | {labels} | {} |",
        definition.name, definition.kind, definition.help
    )
}

#[test]
fn the_reference_lists_what_is_exported() {
    assert_listed("metrics.md", ALL);
}

/// A page of the reference has these metrics, in this order, and no others.
#[track_caller]
pub(super) fn assert_listed(page: &str, all: &[&family::Definition]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(page);
    let text = std::fs::read_to_string(file).unwrap();
    let of_metric = |line: &&str| line.starts_with("| `dnsalt_") || line.starts_with("| `process_");
    let listed: Vec<&str> = text.lines().filter(of_metric).collect();
    let wanted: Vec<String> = all.iter().map(|definition| row(definition)).collect();
    assert!(listed == wanted, "docs/reference/{page} should have\n{}", wanted.join("\n"));
}

/// As `up` does it, without the checks.
fn install(store: &Store, engine: &dyn Engine) {
    let configured = Configured::new(Settings::default()).unwrap();
    let _lock = store.lock().unwrap();
    engine.apply(&configured.policy).unwrap();
    let installed = engine.installed(Some(&configured.policy)).unwrap().unwrap();
    let mut state = State::new(Installation::new(configured.settings, engine), None).unwrap();
    state.complete = Some(Complete { fingerprint: installed.fingerprint });
    store.write(&state).unwrap();
}

fn get(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Installs an engine on a host, and serves what it says.
fn serve(
    host: &Host,
    folder: &Path,
    engine: impl FnOnce(&Store) -> Box<dyn Engine> + Send + 'static,
) -> super::server::Running {
    let folder = folder.to_owned();
    host.run(move || {
        let store = Store::open(&folder).unwrap();
        install(&store, engine(&store).as_ref());
        let server = Server::bind(&[Address::Unix(folder.join("metrics.sock"))]).unwrap();
        server.run(Metrics::new(store, counters())).unwrap()
    })
}

#[test]
fn a_real_kernel_is_read_once_a_second() {
    if let Err(why) = require_root().and_then(|()| require(&["nft", "tc"])) {
        eprintln!("skipped: {why}");
        return;
    }
    let net = topology::gateway().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("metrics.sock");
    let running = serve(&net.gateway, folder.path(), |store| {
        Box::new(Nat::new(Backend::Nft, store.folder()))
    });
    let text = get(&socket, "/metrics");
    assert!(text.contains("\ndnsalt_protected 1\n"), "{text}");
    assert!(
        text.contains("engine=\"nat\",backend=\"nft\"")
            && text.contains("dnsalt_nat_flows_total 0\n")
    );
    assert!(get(&socket, "/healthz").ends_with("\r\n\r\nok\n"));
    let again = get(&socket, "/metrics");
    assert!(again.contains("dnsalt_kernel_reads_total{result=\"ok\"} 1\n"), "{again}");
    net.gateway.sh("nft delete table inet dnsalt").unwrap();
    let deadline = Instant::now() + FRESH.most + PATIENCE;
    let mut health = get(&socket, "/healthz");
    while health.ends_with("\r\n\r\nok\n") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        health = get(&socket, "/healthz");
    }
    assert!(
        health.starts_with("HTTP/1.1 503 ") && health.contains("the rules are gone"),
        "{health}"
    );
    drop(running);

    net.gateway.sh("mkdir -p /run/bpf && mount -t bpf bpf /run/bpf").unwrap();
    let _running = serve(&net.gateway, folder.path(), |_| Box::new(Salt::new("/run/bpf".into())));
    let text = get(&socket, "/metrics");
    assert!(text.contains("\ndnsalt_protected 1\n"), "{text}");
    assert!(text.contains("dnsalt_salt_slots 516064\n"), "{text}");
    assert!(text.contains("dnsalt_salt_queries_total{outcome=\"salted\"} 0\n"), "{text}");
}
