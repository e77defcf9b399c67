//! `dnsalt lab attack`: an off-path attacker against a real resolver, before and after.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use dnsalt_lab::race::{Engine, Scenario, Victim};
use dnsalt_lab::{require, require_root};

use crate::cli::AttackArgs;
use crate::exit::{Failure, Outcome, Verdict};
use crate::new_file::NewFile;
use crate::output;
use crate::race::progress::Progress;
use crate::race::{self, Report, SCHEMA, Skipped, html, plan, text};

pub(super) fn run(args: &AttackArgs) -> Outcome {
    if args.list {
        return list();
    }
    require_root()?;
    require(&["ip", "nft"])?;
    let scenarios = scenarios(args)?;
    let page = match &args.html {
        Some(path) => Some(NewFile::begin(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    if !args.json {
        output::print(INTRODUCTION)?;
    }
    let report = run_all(scenarios, args)?;
    if let Some(mut page) = page {
        page.file.write_all(html::render(&report).as_bytes()).context("writing the page")?;
        page.finish().context("writing the page")?;
    }
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&text::render(&report))?;
    }
    Ok(if report.is_fine() { Verdict::Fine } else { Verdict::Weak })
}

const INTRODUCTION: &str = "\
A network of its own, in namespaces of this machine; nothing else is touched,
and no packet leaves it. The attacker sees nothing of what the resolver asks. It
has the resolver asked for new names of bank.test, and forges the replies.

  client --- resolver --- gateway --- internet --- authority (bank.test)
                          (dnsalt)             \\-- attacker (attack.test)

";

fn list() -> Outcome {
    for (name, _) in plan::BUILT_IN {
        output::print(&format!("{name:<20} {}\n", plan::built_in(name).title))?;
    }
    Ok(Verdict::Fine)
}

/// What is to be run.
fn scenarios(args: &AttackArgs) -> Result<Vec<Scenario>, Failure> {
    if !args.scenario.is_empty() {
        let all: anyhow::Result<Vec<_>> =
            args.scenario.iter().map(|name| plan::named(name)).collect();
        return all.map_err(|why| Failure::Usage(why.to_string()));
    }
    if args.full {
        return Ok(plan::full(args.time.unwrap_or(Duration::from_secs(10))));
    }
    let mut all = plan::short();
    if let Some(time) = args.time {
        for scenario in &mut all {
            scenario.attack.lasts = time;
        }
    }
    // The same with what is there.
    if require(&["named"]).is_err() {
        output::say(
            "note: there is no BIND 9 here (named): the legacy resolver is attacked instead",
        );
        for scenario in &mut all {
            scenario.victim.resolver = Victim::Legacy;
        }
    }
    Ok(all)
}

fn run_all(scenarios: Vec<Scenario>, args: &AttackArgs) -> anyhow::Result<Report> {
    let mut report = Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        races: Vec::new(),
        skipped: Vec::new(),
    };
    let salt = dnsalt_bpf::probe().map_err(|error| format!("no salt engine here: {error}"));
    let progress = Progress::new();
    let count = scenarios.len();
    for (i, scenario) in scenarios.into_iter().enumerate() {
        let missing = scenario.victim.resolver.program().and_then(|program| {
            require(&[program]).is_err().then(|| format!("{program} is not installed"))
        });
        let missing = missing.or_else(|| {
            let salted = scenario.protection.engine == Engine::Salt;
            salt.as_ref().err().filter(|_| salted).cloned()
        });
        if let Some(why) = missing {
            report.skipped.push(Skipped { title: scenario.title, why });
            continue;
        }
        let line = progress.line(&scenario);
        let race =
            race::run(&scenario, &|now| line.show(&now)).with_context(|| scenario.title.clone())?;
        // Of many, only the one that runs is shown.
        if args.full {
            line.clear();
        } else {
            line.end(&race);
        }
        if args.full && !std::io::stderr().is_terminal() {
            // It takes long: whoever looks at its log sees where it is.
            let poisoned = race.raced.attacked.poisoned.as_ref();
            let end = poisoned.map_or("not poisoned", |_| "POISONED");
            output::say(&format!("{} of {count}: {}: {end}", i + 1, race.title));
        }
        report.races.push(race);
    }
    Ok(report)
}
