//! The object of the kernel half: built by a toolchain of its own, and committed, so that nobody else
//! needs that toolchain.
//!
//! ```text
//!   crates/dnsalt-ebpf, dnsalt-salt ──build──▶ object/salt.o
//!                      └──────hash──────────▶ object/manifest.toml
//! ```

mod build;
mod compare;
mod manifest;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::step::root;
use build::Toolchain;
use manifest::Manifest;

/// Where the object and its manifest are, from the root of the repository.
const FOLDER: &str = "crates/dnsalt-ebpf/object";

/// What to do, and with which tools.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only see whether the committed object fits the sources; needs none of the tools
    #[arg(long)]
    check: bool,

    /// Build into a temporary folder, and say whether the committed object is the same program
    #[arg(long, conflicts_with = "check")]
    compare: bool,

    #[command(flatten)]
    toolchain: Toolchain,
}

/// Builds, or looks at what was built.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.check {
        check()
    } else if options.compare {
        compare(&options.toolchain)
    } else {
        write(&options.toolchain)
    }
}

/// Whether the committed object is of these sources, as far as a hash tells.
pub(crate) fn check() -> anyhow::Result<()> {
    let manifest = Manifest::read(&path("manifest.toml"))?;
    let sources = manifest::sources(root())?;
    if manifest.sources != sources {
        bail!("{FOLDER}/salt.o was built from other sources: run `./x bpf` and commit {FOLDER}");
    }
    if manifest.object != manifest::digest(&object()?) {
        bail!("{FOLDER}/salt.o is not the one of its manifest: run `./x bpf` and commit {FOLDER}");
    }
    println!("{FOLDER}/salt.o fits the sources");
    Ok(())
}

fn compare(toolchain: &Toolchain) -> anyhow::Result<()> {
    let manifest = Manifest::read(&path("manifest.toml"))?;
    let temporary = tempfile::tempdir().context("no temporary folder")?;
    let built = build::build(toolchain, temporary.path())?;
    let tools = toolchain.versions(root())?;
    match compare::difference(&object()?, &built)? {
        None => println!("{FOLDER}/salt.o is what the sources give, instruction by instruction"),
        // Another compiler may find other instructions; that the sources are the same is seen by `check`.
        Some(difference) if tools != manifest.tools => println!(
            "{FOLDER}/salt.o was built with {}; with {tools} it would differ: {difference}",
            manifest.tools
        ),
        Some(difference) => bail!("{FOLDER}/salt.o is not what the sources give: {difference}"),
    }
    Ok(())
}

fn write(toolchain: &Toolchain) -> anyhow::Result<()> {
    let object = build::build(toolchain, &target().join("bpf"))?;
    let manifest = Manifest {
        sources: manifest::sources(root())?,
        object: manifest::digest(&object),
        tools: toolchain.versions(root())?,
    };
    fs::create_dir_all(path("")).with_context(|| format!("{FOLDER} could not be made"))?;
    for (name, content) in [("salt.o", &object[..]), ("manifest.toml", manifest.text().as_bytes())]
    {
        fs::write(path(name), content)
            .with_context(|| format!("{FOLDER}/{name} could not be written"))?;
    }
    println!("wrote {FOLDER}/salt.o ({} bytes) and manifest.toml", object.len());
    Ok(())
}

fn object() -> anyhow::Result<Vec<u8>> {
    fs::read(path("salt.o")).with_context(|| format!("{FOLDER}/salt.o could not be read"))
}

fn path(name: &str) -> PathBuf {
    root().join(FOLDER).join(name)
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    root().join(
        std::env::var_os("CARGO_TARGET_DIR").as_deref().map_or(Path::new("target"), Path::new),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_object_fits_the_sources() {
        super::check().unwrap();
    }
}
