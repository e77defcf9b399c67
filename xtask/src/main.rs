//! What developers run: `cargo xtask VERB`, or `./x VERB`, which makes sure of Rust first.
//!
//! ```text
//!   test          all checks, in the order in which they fail soonest
//!   bpf           the object of the kernel half
//!   kernels       the salt engine in older kernels, in QEMU
//!   package       .deb, .rpm and a program that needs nothing
//!   test-packages these, installed in a small system of their own
//!   bench         measurements beside what a user would take instead
//!   fuzz          each parser and the engine, on bytes that libFuzzer makes up
//!   coverage      how much of each package its tests run
//!   assurance     the table of what was tried, anew
//!   man           the man pages        ┐ from the definition of the command line
//!   completions   for five shells      ┘ that also parses it
//! ```

mod assurance;
mod bench;
mod bpf;
mod completions;
mod coverage;
mod fuzz;
mod kernels;
mod man;
mod package;
mod skips;
mod step;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What developers of dnsalt run
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run all checks and tests, stop at the first that fails
    Test(test::Options),
    /// Build the object of the kernel half, or compare it with its sources
    Bpf(bpf::Options),
    /// Run the tests of the salt engine in other kernels, in QEMU
    Kernels(kernels::Options),
    /// Make a .deb, an .rpm and a program that needs nothing of the system
    Package(package::Options),
    /// Install what `package` made in a small system of its own, and remove it
    TestPackages(package::test::Options),
    /// Run parsers and the engine on bytes that libFuzzer makes up
    Fuzz(fuzz::Options),
    /// Measure how much of each package its tests run
    Coverage,
    /// Write the figures of docs/reference/assurance.md anew
    Assurance(assurance::Options),
    /// Measure, beside what a user would take instead
    #[command(subcommand)]
    Bench(Bench),
    /// What `bench path` compares with; it starts this itself
    #[command(hide = true)]
    RewriteInUserSpace,
    /// Write the man pages
    Man {
        /// Where to; made if it is not there
        dir: PathBuf,
    },
    /// Write the completions for bash, zsh, fish, Elvish and PowerShell
    Completions {
        /// Where to; made if it is not there
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// How fast `dnsalt check` reads and judges a capture
    Check(bench::Options),
    /// What DNS through a gateway costs, with each protection in its path
    Path(bench::path::Options),
    /// What the salt engine's programs cost, packet by packet
    Packet(bench::packet::Options),
    /// Answers a second of `dnsalt serve`, beside NSD and Knot DNS
    Serve(bench::serve::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Test(options) => test::run(options),
        Verb::Bpf(options) => bpf::run(&options),
        Verb::Kernels(options) => kernels::run(&options),
        Verb::Package(options) => package::run(&options),
        Verb::TestPackages(options) => package::test::run(&options),
        Verb::RewriteInUserSpace => bench::userspace::run(),
        Verb::Bench(Bench::Check(options)) => bench::check(&options),
        Verb::Bench(Bench::Path(options)) => bench::path::run(&options),
        Verb::Bench(Bench::Packet(options)) => bench::packet::run(&options),
        Verb::Bench(Bench::Serve(options)) => bench::serve::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
        Verb::Coverage => coverage::run(),
        Verb::Assurance(options) => assurance::run(&options),
        Verb::Man { dir } => man::write(&dir),
        Verb::Completions { dir } => completions::write(&dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
