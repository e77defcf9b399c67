//! Which engine it is going to be.

use std::path::Path;

use dnsalt_bpf::BpfError;
use dnsalt_nat::driver::Backend;
use dnsalt_policy::{Conntrack, Settings, Source};

use super::{Engine, Nat, Salt};
use crate::cli::{EngineChoice, UpArgs};
use crate::configuration::Configured;
use crate::exit::Failure;
use crate::output;

/// The engine that was asked for; or the strongest that can do what was asked for here, with the reason
/// if that is not `salt`.
pub(crate) fn choose(
    args: &UpArgs,
    configured: &Configured,
    folder: &Path,
) -> Result<Box<dyn Engine>, Failure> {
    let nat = || Box::new(Nat::new(args.backend, folder)) as Box<dyn Engine>;
    match args.engine {
        EngineChoice::Nat => Ok(nat()),
        EngineChoice::Salt => {
            if args.backend != Backend::Auto {
                return Err(Failure::Usage(
                    "--backend is of the nat engine; leave it out, or use --engine nat".to_owned(),
                ));
            }
            let supports = dnsalt_bpf::supports(&configured.policy);
            supports.map_err(|error| Failure::Usage(error.to_string()))?;
            let bpffs = dnsalt_bpf::bpffs(args.bpffs.as_deref()).map_err(could_not)?;
            Ok(Box::new(Salt::new(bpffs)))
        }
        EngineChoice::Auto => {
            if asks_for_nat(args, &configured.settings) {
                return Ok(nat());
            }
            match can_salt(args, configured) {
                Ok(salt) => Ok(Box::new(salt)),
                Err(why) => {
                    output::say(&format!(
                        "note: --engine nat, without the 16 bits of the query ID: {why}"
                    ));
                    Ok(nat())
                }
            }
        }
    }
}

fn could_not(error: BpfError) -> Failure {
    Failure::CouldNot(error.into())
}

/// Whether something was given that only the `nat` engine has.
fn asks_for_nat(args: &UpArgs, settings: &Settings) -> bool {
    let source = settings.source.as_ref();
    args.backend != Backend::Auto
        || settings.per_query == Some(true)
        || settings.timeout.is_some()
        || (source.is_some_and(is_for_nat) && settings.conntrack != Some(Conntrack::Off))
}

/// Whether a source address is one of the nat engine's: single addresses the other has as well, but for UDP
/// alone.
fn is_for_nat(source: &Source) -> bool {
    *source != Source::Keep && source.prefixes().is_empty()
}

/// Whether this machine can, as far as that shows without changing anything.
fn can_salt(args: &UpArgs, configured: &Configured) -> Result<Salt, BpfError> {
    dnsalt_bpf::supports(&configured.policy)?;
    let bpffs = dnsalt_bpf::bpffs(args.bpffs.as_deref());
    if !bpffs.as_ref().is_ok_and(|bpffs| is_at_work(bpffs)) {
        dnsalt_bpf::probe()?;
    }
    Ok(Salt::new(bpffs?))
}

/// Whether the engine is at work here already: then the kernel has taken the programs, which takes it a second to
/// find out anew.
fn is_at_work(bpffs: &Path) -> bool {
    dnsalt_bpf::installed(bpffs).is_ok_and(|it| it.is_some_and(|it| !it.interfaces.is_empty()))
}
