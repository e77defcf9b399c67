//! All checks, in the order in which they fail soonest.

use clap::Args;

use crate::bpf;
use crate::package;
use crate::skips::Skips;
use crate::step::Step;

/// What to run, and how.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Options {
    /// Only the unit tests
    #[arg(long)]
    quick: bool,

    /// Run the test programs through sudo: tests with networks need root, the build does not
    #[arg(long)]
    sudo: bool,
}

/// Runs them; says at the end what was skipped, and why.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let mut skipped = Vec::new();
    if options.quick {
        tests(options, &["--lib", "--bins"], &mut skipped)?;
    } else {
        style(&mut skipped)?;
        musl(&mut skipped)?;
        bpf::check()?;
        tests(options, &[], &mut skipped)?;
        let doc = Step::cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
        doc.env("RUSTDOCFLAGS", "-D warnings").run()?;
    }
    println!("\nAll passed.");
    if !skipped.is_empty() {
        println!("Skipped: {}.", skipped.join("; "));
    }
    Ok(())
}

/// Format and lints, of Rust and of the shell scripts.
fn style(skipped: &mut Vec<String>) -> anyhow::Result<()> {
    if Step::cargo(&["fmt", "--version"]).works() {
        Step::cargo(&["fmt", "--all", "--check"]).run()?;
        let kernel_half = "crates/dnsalt-ebpf/Cargo.toml";
        Step::cargo(&["fmt", "--manifest-path", kernel_half, "--check"]).run()?;
    } else {
        skipped.push("the format (no rustfmt)".to_owned());
    }
    if Step::cargo(&["clippy", "--version"]).works() {
        let what = ["clippy", "--workspace", "--all-targets", "--locked"];
        Step::cargo(&[&what[..], &["--", "-D", "warnings"]].concat()).run()?;
    } else {
        skipped.push("the lints (no clippy)".to_owned());
    }
    Step::program("sh", &["-n", "x"]).run()?;
    if Step::program("shellcheck", &["--version"]).works() {
        Step::program("shellcheck", &["x", ".ci/run"]).run()?;
    } else {
        skipped.push("the lints of the scripts (no shellcheck)".to_owned());
    }
    Ok(())
}

/// Types of libc differ in musl, with which the program that needs nothing is built: whether crates that use
/// them still fit. Those that want a C compiler for it are left to `package`.
fn musl(skipped: &mut Vec<String>) -> anyhow::Result<()> {
    let triple = package::triple();
    let there = Step::program("rustc", &["--print", "target-libdir", "--target", &triple]).output();
    let folder = String::from_utf8_lossy(&there.unwrap_or_default()).trim().to_owned();
    if !std::path::Path::new(&folder).is_dir() {
        skipped.push(format!("the check with musl (no Rust for {triple})"));
        return Ok(());
    }
    let mut args = vec!["check", "--locked", "--target", &triple];
    for package in ["dnsalt-bpf", "dnsalt-lab", "dnsalt-nat", "dnsalt-serve"] {
        args.extend(["--package", package]);
    }
    Step::cargo(&args).run()
}

/// The tests, which say themselves when they skip.
fn tests(options: Options, targets: &[&str], skipped: &mut Vec<String>) -> anyhow::Result<()> {
    let mut args = vec!["test", "--workspace", "--locked"];
    args.extend(targets);
    if options.sudo {
        // Only what cargo runs is root's: what it builds stays ours.
        args.extend(["--config", "target.'cfg(unix)'.runner=['sudo','-E']"]);
    }
    args.extend(["--", "--show-output"]);
    let mut skips = Skips::default();
    Step::cargo(&args).run_lines(|line| {
        if skips.line(line) {
            println!("{line}");
        }
    })?;
    skipped.extend(skips.into_reasons());
    Ok(())
}
