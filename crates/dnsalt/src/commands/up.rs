//! `dnsalt up`: protect everything that leaves this machine, or passes through it.
//!
//! The order matters; at each step a kill leaves either what was before or what was asked for:
//!
//! 1. read the policy, look at the machine (nothing is changed)
//! 2. lock, ask whether a name resolves now
//! 3. with `--confirm`: start whoever will undo it
//! 4. write the state as begun
//! 5. the rules, in one transaction
//! 6. end the UDP flows that were made before the rules: NAT is decided once for each flow
//! 7. ask whether a name still resolves; if not, undo
//! 8. write the state as complete

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use dnsalt_nat::preflight::{Finding, Severity};
use dnsalt_nat::reserved_ports;
use dnsalt_policy::{Defaults, Policy};
use rustix::thread::CapabilitySet;

use super::{may, need_net_admin, own_program, restore};
use crate::cli::UpArgs;
use crate::clock::Moment;
use crate::configuration::{self, Configured};
use crate::engine::{self, Engine, Installed};
use crate::exit::{Failure, Outcome, Verdict};
use crate::health::{self, Health};
use crate::query::random_label;
use crate::state::{Complete, Installation, State, Store, Unconfirmed};
use crate::{interfaces, output};

pub(super) fn run(args: &UpArgs, state_dir: &Path) -> Outcome {
    if args.dry_run {
        return dry_run(args, state_dir);
    }
    match bring_up(args, state_dir)? {
        Brought::Up(report) => output::print(&report)?,
        Brought::Nothing { unconfirmed } => {
            output::print("Already up with this policy; nothing was changed.\n")?;
            if unconfirmed {
                output::print("It is still undone in time unless you say: dnsalt confirm\n")?;
            }
        }
    }
    Ok(Verdict::Fine)
}

/// What [`bring_up`] did.
pub(crate) enum Brought {
    /// It installed the policy: what to say of it.
    Up(String),
    /// Exactly this was installed already.
    Nothing {
        /// And an `up --confirm` still waits.
        unconfirmed: bool,
    },
}

/// What was asked for, and the engine for it.
fn prepare(
    args: &UpArgs,
    state_dir: &Path,
) -> Result<(Configured, Store, Box<dyn Engine>, String), Failure> {
    let configured = configuration::load(&args.policy, &Defaults { reserved: reserved_ports() })?;
    interfaces::all_exist(configured.policy.interfaces()).map_err(Failure::Usage)?;
    let store = Store::open(state_dir)?;
    let engine = engine::choose(args, &configured, store.folder())?;
    let rules = engine.preview(&configured.policy)?;
    Ok((configured, store, engine, rules))
}

/// All of it but for what is printed.
pub(crate) fn bring_up(args: &UpArgs, state_dir: &Path) -> Result<Brought, Failure> {
    let (configured, store, engine, _) = prepare(args, state_dir)?;
    need_net_admin("installing rules")?;
    let _lock = store.lock()?;
    look_around(&configured.policy, engine.as_ref())?;
    let before = store.read()?;
    if let Some(state) = &before
        && unchanged(state, &configured, engine.as_ref())?
    {
        return Ok(Brought::Nothing { unconfirmed: state.unconfirmed.is_some() });
    }
    change(args, &store, &configured, engine.as_ref(), before.as_ref(), state_dir)
}

/// Steps 2 to 8.
fn change(
    args: &UpArgs,
    store: &Store,
    configured: &Configured,
    engine: &dyn Engine,
    before: Option<&State>,
    state_dir: &Path,
) -> Result<Brought, Failure> {
    let name = args.health_name.as_deref();
    let healthy_before = if args.no_health { Health::NoServer } else { health::check(name) };
    let current = Installation::new(configured.settings.clone(), engine);
    let mut state = State::new(current, previous(before, store)?)?;
    if let Some(time) = args.confirm {
        state.unconfirmed = Some(undo_after(time, state_dir)?);
    }
    if let Err(error) = put_in(store, &state, engine) {
        // A firewall does all or nothing; the salt engine may have changed a part of what was there before.
        if let Some(previous) = &state.previous {
            let policy = Configured::new(previous.settings.clone())?.policy;
            let _ = engine::of(previous, store.folder()).apply(&policy);
        }
        // So is the state what it was. Where the disk is full it has not been replaced.
        if let Err(other) = write_back(store, before)
            && store.read().is_ok_and(|state| state.as_ref() != before)
        {
            return Err(Failure::CouldNot(other.context(format!("{error:#}"))));
        }
        return Err(Failure::CouldNot(error.context("nothing was changed")));
    }
    retire_previous(store, &state);
    let cut = cut(store, [Some(&state.current), state.previous.as_ref()]);
    if let Some(failure) = worse(&healthy_before, name, args.no_health) {
        undo(store, &state, before)
            .context("names do not resolve through the new rules, and they could not be undone")?;
        return Err(Failure::CouldNot(anyhow!(
            "names do not resolve through the new rules, so they were undone: {failure}"
        )));
    }
    if let Err(error) = complete(store, &mut state, engine) {
        undo(store, &state, before)
            .with_context(|| format!("{error:#}; what was done could not be undone"))?;
        return Err(Failure::CouldNot(error.context("everything was undone")));
    }
    Ok(Brought::Up(report(&configured.policy, engine, cut, args.confirm)))
}

/// Puts an installation in without asking anything: for undoing a change of policy.
pub(crate) fn install(store: &Store, installation: &Installation) -> anyhow::Result<()> {
    let engine = engine::of(installation, store.folder());
    let mut state = State::new(installation.clone(), None)?;
    put_in(store, &state, engine.as_ref())?;
    complete(store, &mut state, engine.as_ref())
}

/// Steps 4 and 5.
fn put_in(store: &Store, state: &State, engine: &dyn Engine) -> anyhow::Result<()> {
    let policy = Configured::new(state.current.settings.clone())?.policy;
    store.write(state)?;
    engine.apply(&policy)
}

/// Takes our rules out of another place, once the new ones are in. If that fails there are more
/// rules than needed, none too few; `down` tries again.
fn retire_previous(store: &Store, state: &State) {
    if let Some(previous) = &state.previous
        && !previous.shares_place(&state.current)
        && let Err(error) = engine::of(previous, store.folder()).remove()
    {
        output::say(&format!("warning: our old rules are still there: {error}"));
    }
}

/// Step 8.
fn complete(store: &Store, state: &mut State, engine: &dyn Engine) -> anyhow::Result<()> {
    let policy = Configured::new(state.current.settings.clone())?.policy;
    let installed = engine.installed(Some(&policy))?;
    let installed = installed.context("the rules are gone again: who removed them?")?;
    if let Some(lacks) = &installed.lacks {
        output::say(&format!("warning: {lacks}"));
    }
    state.complete = Some(Complete { fingerprint: installed.fingerprint });
    store.write(state)
}

/// Step 6, for the scopes of the rules that came and of those that went; how many flows were
/// ended. That it fails is no reason to go without rules: flows end by themselves when idle.
pub(crate) fn cut<'a>(
    store: &Store,
    scopes: impl IntoIterator<Item = Option<&'a Installation>>,
) -> usize {
    let ended = |installation: &Installation| {
        let configured = Configured::new(installation.settings.clone()).ok()?;
        Some(engine::of(installation, store.folder()).cut(&configured.policy))
    };
    scopes.into_iter().flatten().filter_map(ended).sum()
}

/// Whether exactly this is in the kernel already.
fn unchanged(state: &State, wanted: &Configured, engine: &dyn Engine) -> anyhow::Result<bool> {
    let Some(complete) = &state.complete else {
        return Ok(false);
    };
    let new = Installation::new(wanted.settings.clone(), engine);
    if state.current.settings != wanted.settings || !state.current.shares_place(&new) {
        return Ok(false);
    }
    let installed = engine.installed(Some(&wanted.policy))?;
    let is_whole = |installed: Installed| {
        // What the machine could not take then, it may take now.
        installed.missing.is_none()
            && installed.lacks.is_none()
            && installed.fingerprint == complete.fingerprint
    };
    Ok(installed.is_some_and(is_whole))
}

/// What there is to go back to: the policy that was in force, if it is still in the kernel.
fn previous(before: Option<&State>, store: &Store) -> anyhow::Result<Option<Installation>> {
    let Some(before) = before else {
        return Ok(None);
    };
    match engine::of(&before.current, store.folder()).installed(None)? {
        Some(_) if before.complete.is_some() => Ok(Some(before.current.clone())),
        _ => Ok(before.previous.clone()),
    }
}

/// Back to the rules that were in force, and to their state.
fn undo(store: &Store, state: &State, before: Option<&State>) -> anyhow::Result<()> {
    restore(store, &state.current, state.previous.as_ref())?;
    match before.filter(|before| Some(&before.current) == state.previous.as_ref()) {
        Some(before) => store.write(before),
        None => Ok(()),
    }
}

/// The state as it was, with whoever waits to undo it.
fn write_back(store: &Store, before: Option<&State>) -> anyhow::Result<()> {
    match before {
        Some(before) => store.write(before),
        None => store.clear(),
    }
}

/// Why names resolve worse than before; none if they do not.
fn worse(before: &Health, name: Option<&str>, skip: bool) -> Option<String> {
    if skip {
        return None;
    }
    match before {
        Health::NoServer => {
            output::say("note: resolv.conf names no server, so no name could be checked");
            None
        }
        Health::Fails(why) => {
            output::say(&format!(
                "warning: names did not resolve before either ({why}), so nothing could be checked"
            ));
            None
        }
        Health::Resolves(_) => match health::check(name) {
            Health::Resolves(_) => None,
            Health::Fails(why) => Some(why),
            Health::NoServer => Some("resolv.conf names no server any more".to_owned()),
        },
    }
}

/// Starts the process that undoes this `up`, in a session of its own: it outlives the terminal.
fn undo_after(time: Duration, state_dir: &Path) -> anyhow::Result<Unconfirmed> {
    let token = random_label();
    let milliseconds = time.as_millis().to_string();
    Command::new(own_program()?)
        .arg("--state-dir")
        .arg(std::path::absolute(state_dir)?)
        .args(["undo-later", &milliseconds, &token])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the process that would undo this could not be started")?;
    Ok(Unconfirmed { token, undone_at: Moment::now().after(time) })
}

/// Says what was found; an error ends it here.
fn look_around(policy: &Policy, engine: &dyn Engine) -> Result<(), Failure> {
    let mut findings = engine.preflight(policy);
    let errors: Vec<Finding> =
        findings.extract_if(.., |finding| finding.severity == Severity::Error).collect();
    for finding in &findings {
        output::say(&shown(finding));
    }
    match errors.first() {
        Some(error) if error.mend.is_empty() => Err(anyhow!("{}", error.what).into()),
        Some(error) => Err(anyhow!("{}; {}", error.what, error.mend).into()),
        None => Ok(()),
    }
}

fn shown(finding: &Finding) -> String {
    let word = match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    format!("{word}: {}\n      {}", finding.what, finding.mend)
}

fn dry_run(args: &UpArgs, state_dir: &Path) -> Outcome {
    let (configured, _, engine, rules) = prepare(args, state_dir)?;
    let policy = &configured.policy;
    if may(CapabilitySet::NET_ADMIN) {
        for finding in engine.preflight(policy) {
            output::say(&shown(&finding));
        }
    } else {
        output::say(
            "note: without root this machine was not looked at\n      run it with sudo to see what stands in the way",
        );
    }
    output::print(&format!(
        "{}\nNothing was done. These rules would be loaded:\n\n{rules}",
        engine.plan(policy)
    ))?;
    Ok(Verdict::Fine)
}

fn report(policy: &Policy, engine: &dyn Engine, cut: usize, confirm: Option<Duration>) -> String {
    let mut text = output::paint(output::Tone::Good, "Up.");
    text += match engine.name() {
        "salt" => " DNS queries leave with random ports and IDs now.\n\n",
        _ => " DNS queries leave from random ports now.\n\n",
    };
    text += &engine.plan(policy);
    if cut > 0 {
        text += &format!(
            "cut      {cut} UDP flow{} that had old ports\n",
            if cut == 1 { "" } else { "s" }
        );
    }
    text += &match confirm {
        Some(time) => {
            let time = humantime::format_duration(time);
            format!("\nIt is undone in {time} unless you say: dnsalt confirm\n")
        }
        None => "\nSee it on the wire: dnsalt prove     Undo it: dnsalt down\n".to_owned(),
    };
    text
}
