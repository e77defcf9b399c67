//! Builds the object with a Rust that has the source of its `core`, and bpf-linker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Args;

use super::manifest::Tools;
use crate::step::{Step, root};

const CRATE: &str = "crates/dnsalt-ebpf";
const TARGET: &str = "bpfel-unknown-none";

/// How it is built, wherever that is; a part of what the hash of the sources is over.
pub(super) const FLAGS: [&str; 3] = [
    // 32 bit registers and jumps, and atomics that give the old value; Linux 5.12.
    "-Ctarget-cpu=v3",
    // No paths and no texts of panics: no one could read them.
    "-Zlocation-detail=none",
    "-Zfmt-debug=none",
];

/// The tools; `./x bpf` finds or installs them.
#[derive(Debug, Args)]
pub(crate) struct Toolchain {
    /// The cargo to build with
    #[arg(long, default_value = "cargo", value_name = "PROGRAM")]
    cargo: PathBuf,

    /// The rustc to build with, which has the source of the standard library
    #[arg(long, default_value = "rustc", value_name = "PROGRAM")]
    rustc: PathBuf,

    /// The bpf-linker to link with
    #[arg(long, default_value = "bpf-linker", value_name = "PROGRAM")]
    linker: PathBuf,
}

impl Toolchain {
    /// What the tools say of themselves, and which aya-ebpf is in the lock file below `root`.
    pub(super) fn versions(&self, root: &Path) -> anyhow::Result<Tools> {
        let lock = fs::read_to_string(root.join(CRATE).join("Cargo.lock"))?;
        Ok(Tools {
            rustc: version(&self.rustc)?,
            bpf_linker: version(&self.linker)?,
            aya_ebpf: locked(&lock, "aya-ebpf").context("no aya-ebpf in Cargo.lock")?.to_owned(),
        })
    }
}

/// Builds into a folder; the bytes of the object.
pub(super) fn build(toolchain: &Toolchain, target: &Path) -> anyhow::Result<Vec<u8>> {
    let manifest = format!("{CRATE}/Cargo.toml");
    let what = ["build", "--release", "--locked", "--manifest-path", &manifest];
    let args = [&what[..], &["--target", TARGET, "-Z", "build-std=core"]].concat();
    let linker = format!("-Clinker={}", toolchain.linker.display());
    let remap = format!("--remap-path-prefix={}=.", root().display());
    let flags = [&FLAGS[..], &[&linker, &remap]].concat().join("\x1f");
    Step::program(&toolchain.cargo, &args)
        // Unstable flags on a stable compiler; a nightly one does not mind.
        .hidden_env("RUSTC_BOOTSTRAP", "1".as_ref())
        .hidden_env("CARGO_TARGET_DIR", target.as_os_str())
        .hidden_env("RUSTC", toolchain.rustc.as_os_str())
        .hidden_env("CARGO_ENCODED_RUSTFLAGS", flags.as_ref())
        .run()?;
    let path = target.join(TARGET).join("release/salt");
    let object = fs::read(&path).with_context(|| format!("no object at {}", path.display()))?;
    for private in [Some(root().as_os_str().to_owned()), std::env::var_os("HOME")] {
        let private = private.unwrap_or_default();
        let bytes = private.as_encoded_bytes();
        if bytes.len() > 1 && object.windows(bytes.len()).any(|window| window == bytes) {
            bail!("the object has a path of this machine in it: {}", private.display());
        }
    }
    Ok(object)
}

fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("could not start {}", program.display()))?;
    if !output.status.success() {
        bail!("`{} --version` failed ({})", program.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version of a package in a lock file.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, behind) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    behind.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"1.2.3\"\n";
        assert_eq!(locked(lock, "a-b"), Some("1.2.3"));
        assert_eq!(locked(lock, "b"), None);
    }
}
