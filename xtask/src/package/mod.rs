//! What is handed to users: a .deb, an .rpm, and a program that needs nothing of the system.
//!
//! ```text
//!   cargo build ──dnsalt──┬──▶ man pages, completions, dnsalt.toml ──┐   target/release/package
//!                         └──────────────────────────────────────────┴──▶ cargo deb, cargo generate-rpm
//!   cargo build --target ...-musl ──▶ dnsalt-VERSION-ARCH-linux-musl
//! ```
//!
//! Beside them lies a bill of materials: `cargo cyclonedx`. Which file goes where in a package is told in `crates/dnsalt/Cargo.toml`.

mod reproduce;
mod root;
pub(crate) mod test;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::step::{Step, root as repository};
use crate::{completions, man};

/// How big the program that needs nothing may get: gateways have little room.
const ROOM: u64 = 12_000_000;

/// What is in the packages beside the default. The program that needs nothing is for gateways, which have little
/// room: it has no Parquet.
const FEATURES: &str = "fleet";

/// What to make, and where to.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to; made if it is not there
    #[arg(default_value = "target/packages")]
    dir: PathBuf,

    /// Only these: deb, rpm, static
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_value = "deb,rpm,static")]
    only: Vec<Kind>,

    /// Build the program that needs nothing a second time, from a clone in another place, and compare
    #[arg(long)]
    twice: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Deb,
    Rpm,
    Static,
}

/// Makes them.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let dir = std::path::absolute(&options.dir)?;
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let to = dir.to_str().context("the folder's name is not UTF-8")?;
    let wants = |kind| options.only.contains(&kind);
    if wants(Kind::Deb) || wants(Kind::Rpm) {
        program(&["--features", FEATURES]).run()?;
        beside(&target().join("release"))?;
    }
    if wants(Kind::Deb) {
        Step::cargo(&["deb", "--package", "dnsalt", "--no-build", "--output", to]).run()?;
    }
    if wants(Kind::Rpm) {
        let rpm = ["generate-rpm", "--package", "crates/dnsalt", "--auto-req", "builtin"];
        Step::cargo(&[&rpm[..], &["--output", to]].concat()).run()?;
    }
    if wants(Kind::Static) {
        alone(&dir)?;
    }
    bill(&dir)?;
    if options.twice {
        reproduce::twice(&triple())?;
    }
    println!("\nMade:");
    let mut made: Vec<_> = fs::read_dir(&dir)?.collect::<Result<_, _>>()?;
    made.sort_by_key(fs::DirEntry::file_name);
    for file in made {
        println!("{:>10} {}", file.metadata()?.len(), file.path().display());
    }
    Ok(())
}

/// Builds the program, without symbols, and without the names of this machine's folders.
fn program(options: &[&str]) -> Step {
    let build = ["rustc", "--locked", "--release", "--package", "dnsalt", "--bin", "dnsalt"];
    let step = Step::cargo(&[&build[..], options, &["--", "-C", "strip=symbols"]].concat());
    reproduce::nameless(step, repository(), &target())
}

/// What the program that needs nothing is built for.
pub(crate) fn triple() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// What the packages have beside the program.
fn beside(release: &Path) -> anyhow::Result<()> {
    let dir = release.join("package");
    // Pages of verbs that are no more.
    let _ = fs::remove_dir_all(&dir);
    man::write(&dir.join("man"))?;
    completions::write(&dir.join("completions"))?;
    let sample = Step::program(release.join("dnsalt"), &["config", "--sample"]).output()?;
    fs::write(dir.join("dnsalt.toml"), sample).with_context(|| dir.display().to_string())
}

/// The program with its C library in it.
fn alone(dir: &Path) -> anyhow::Result<()> {
    let machine = std::env::consts::ARCH;
    let triple = triple();
    program(&["--target", &triple]).run()?;
    let built = target().join(&triple).join("release/dnsalt");
    let name = format!("dnsalt-{}-{machine}-linux-musl", env!("CARGO_PKG_VERSION"));
    let size = fs::copy(&built, dir.join(&name)).with_context(|| built.display().to_string())?;
    ensure!(size < ROOM, "{name} has {size} bytes; it shall have fewer than {ROOM}");
    Ok(())
}

/// What bills are called, without `.json`; `cargo cyclonedx` puts one beside each manifest of the workspace.
const BILL: &str = "bill-of-materials";

/// The bill of materials of the program (`CycloneDX`): every crate in it, with version, licence and hash.
fn bill(dir: &Path) -> anyhow::Result<()> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let args = [
        &["cyclonedx", "--format", "json", "--override-filename", BILL, "--target", &triple][..],
        // Of the packages, which have more in them than the program alone.
        &["--features", FEATURES],
    ]
    .concat();
    let made = Step::program("cargo-cyclonedx", &args).run();
    let text = fs::read_to_string(repository().join(format!("crates/dnsalt/{BILL}.json")));
    let crates = fs::read_dir(repository().join("crates"))?.flatten().map(|entry| entry.path());
    for folder in crates.chain([repository().join("xtask")]) {
        let _ = fs::remove_file(folder.join(format!("{BILL}.json")));
    }
    made?;
    // Where it was built is nobody's business.
    let text = text?.replace(&format!("path+file://{}", repository().display()), "path+file://");
    let parsed: serde_json::Value = serde_json::from_str(&text)?;
    let components = parsed["components"].as_array().map_or(0, Vec::len);
    ensure!(components > 100, "the bill of materials has {components} components");
    let name = format!("dnsalt-{}.cdx.json", env!("CARGO_PKG_VERSION"));
    fs::write(dir.join(&name), text).with_context(|| name)
}

/// Where cargo builds.
fn target() -> PathBuf {
    repository().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
