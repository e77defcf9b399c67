//! The same sources give the same program, wherever they are built.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::{program, target};
use crate::step::{Step, root};

/// Names of folders do not get into what is built: neither those of the sources nor of the crates.
pub(super) fn nameless(step: Step, sources: &Path, target: &Path) -> Step {
    let folders = [(sources, "/dnsalt"), (target, "/target"), (&*cargo_home(), "/cargo")];
    let (mut rust, mut c) = (OsString::new(), OsString::new());
    for (folder, name) in folders {
        for (flags, option, between) in
            [(&mut rust, "--remap-path-prefix=", "\u{1f}"), (&mut c, "-ffile-prefix-map=", " ")]
        {
            if !flags.is_empty() {
                flags.push(between);
            }
            flags.push(option);
            flags.push(folder);
            flags.push(format!("={name}"));
        }
    }
    step.hidden_env("CARGO_ENCODED_RUSTFLAGS", &rust).hidden_env("CFLAGS", &c)
}

fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// Builds the program once more, from a clone in a folder of its own, and compares.
pub(super) fn twice(triple: &str) -> anyhow::Result<()> {
    let changed = Step::program("git", &["status", "--porcelain"]).output()?;
    ensure!(changed.is_empty(), "only what is committed can be built twice: there are changes");
    let place = tempfile::tempdir().context("a folder for the second build")?;
    let (clone, build) = (place.path().join("elsewhere"), place.path().join("build"));
    let to = clone.to_str().context("the folder's name is not UTF-8")?;
    Step::program("git", &["clone", "--quiet", ".", to]).run()?;
    let again = program(&["--target", triple]).inside(&clone);
    nameless(again, &clone, &build).hidden_env("CARGO_TARGET_DIR", build.as_os_str()).run()?;
    let read = |target: &Path| {
        let path = target.join(triple).join("release/dnsalt");
        fs::read(&path).with_context(|| path.display().to_string())
    };
    let (first, second) = (read(&target())?, read(&build)?);
    let differ = first.iter().zip(&second).filter(|(a, b)| a != b).count();
    ensure!(
        first == second,
        "the two programs differ: {differ} bytes, {} and {} long",
        first.len(),
        second.len()
    );
    println!(
        "\nBuilt twice, in {} and elsewhere: the same {} bytes.",
        root().display(),
        first.len()
    );
    Ok(())
}
