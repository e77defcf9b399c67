//! `dnsalt lab`: experiments in a network of our own. Nothing of this machine is touched, and no
//! packet leaves it.

mod attack;
mod recipe;

use crate::cli::LabCommand;
use crate::exit::Outcome;

pub(super) fn run(command: &LabCommand) -> Outcome {
    match command {
        LabCommand::Recipe => recipe::run(),
        LabCommand::Attack(args) => attack::run(args),
    }
}
