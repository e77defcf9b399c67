//! A small system in a folder, to install packages in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail, ensure};

use crate::step::Step;

/// What the tests want beside what every Debian has. Not debhelper's, or whatever else would help: users
/// have no more.
const WITH: &str = "--include=systemd,man-db,nftables";

/// What package managers and systemd keep for themselves. Debian's rpm has its database at root's home.
const OF_OTHERS: [&str; 6] =
    ["root/.rpmdb", "run/systemd", "var/cache", "var/lib/dpkg", "var/lib/systemd", "var/log"];

/// A folder that is the root of what runs in it; removed in the end.
pub(super) struct Root(tempfile::TempDir);

impl Root {
    /// With nothing in it.
    pub(super) fn empty() -> anyhow::Result<Self> {
        Ok(Root(tempfile::tempdir().context("a folder for the system")?))
    }

    /// With a Debian; packages are kept in `cache`.
    pub(super) fn debian(suite: &str, mirror: &str, cache: &Path) -> anyhow::Result<Self> {
        let root = Self::empty()?;
        fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
        let cache = format!("--cache-dir={}", std::path::absolute(cache)?.display());
        let folder = root.0.path().to_string_lossy();
        let debootstrap =
            ["debootstrap", "--variant=minbase", WITH, &cache, suite, &folder, mirror];
        // What it mounts goes with the namespace.
        Step::program("unshare", &[&["--mount"], &debootstrap[..]].concat()).run()?;
        Ok(root)
    }

    /// A path as it is seen from outside.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    /// Runs a program in it, with namespaces of its own: neither network nor processes nor mounts are
    /// those of the machine.
    fn command(&self, program: &[&str]) -> Command {
        let folder = self.0.path();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--net"]);
        if self.path("proc").is_dir() {
            command.arg(format!("--mount-proc={}", self.path("proc").display()));
        }
        command.arg("chroot").arg(folder).args(program).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command
    }

    /// What a program prints; it must succeed.
    pub(super) fn run(&self, program: &[&str]) -> anyhow::Result<String> {
        let shown = program.join(" ");
        println!("   {}", shown.lines().next().unwrap_or_default());
        let output = self.command(program).output().context("could not start unshare")?;
        let said = text(&output);
        ensure!(output.status.success(), "`{shown}` failed ({}):\n{said}", output.status);
        Ok(said)
    }

    /// What a script prints; each of its commands must succeed.
    pub(super) fn sh(&self, script: &str) -> anyhow::Result<String> {
        self.run(&["/bin/sh", "-euc", script])
    }

    /// Every file in it but for what package managers keep.
    pub(super) fn files(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut files = BTreeSet::new();
        list(self.0.path(), self.0.path(), &mut files)?;
        Ok(files)
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn list(root: &Path, folder: &Path, files: &mut BTreeSet<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        let Ok(inside) = path.strip_prefix(root) else { bail!("{}", path.display()) };
        if OF_OTHERS.iter().any(|other| inside.starts_with(other)) {
            continue;
        }
        files.insert(inside.to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            list(root, &path, files)?;
        }
    }
    Ok(())
}
