//! The packages as users meet them: installed in a small system of its own, used, removed, purged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use super::root::Root;
use crate::bench::capture;

/// What is tested, and in what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What `package` made
    #[arg(default_value = "target/packages")]
    dir: PathBuf,

    /// The release of Debian to install in
    #[arg(long, default_value = "bookworm")]
    suite: String,

    /// Where it comes from
    #[arg(long, value_name = "URL", default_value = "http://deb.debian.org/debian")]
    mirror: String,
}

/// Runs all; the first failure ends it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let [deb, rpm, alone] = [".deb", ".rpm", "-musl"].map(|end| ends_in(&options.dir, end));
    let work = tempfile::tempdir()?;
    let capture = capture::made(work.path(), 4000, 1)?;

    println!("\n== the program that needs nothing");
    needs_nothing(&alone?, &capture)?;
    let root = Root::debian(&options.suite, &options.mirror, &super::target().join("debootstrap"))?;
    fs::copy(&capture, root.path("root/capture.pcap"))?;
    let before = root.files()?;

    println!("\n== the .deb");
    fs::copy(deb?, root.path("root/dnsalt.deb"))?;
    root.run(&["dpkg", "-i", "/root/dnsalt.deb"])?;
    fs::remove_file(root.path("root/dnsalt.deb"))?;
    works(&root)?;
    is_a_service(&root)?;
    configuration_is_kept(&root)?;
    goes_with_its_protection(&root)?;
    let left: Vec<_> = root.files()?.difference(&before).cloned().collect();
    // Debian masks the unit of a package that is removed and not purged.
    let expected = ["etc/dnsalt.toml", "etc/systemd/system/dnsalt.service"];
    ensure!(left == expected, "the package leaves more than its configuration: {left:?}");
    root.run(&["dpkg", "-P", "dnsalt"])?;
    all_is_gone(&root, &before)?;

    println!("\n== the .rpm");
    // Other packages have these there.
    root.sh("cd /usr/share && mkdir -p fish/vendor_completions.d licenses zsh/site-functions")?;
    let before = root.files()?;
    fs::copy(rpm?, root.path("root/dnsalt.rpm"))?;
    let folder = root.path("");
    let outside = |args: &[&str]| {
        let root = ["--root", &folder.to_string_lossy()].map(str::to_owned);
        let args: Vec<_> = root.iter().map(String::as_str).chain(args.iter().copied()).collect();
        crate::step::Step::program("rpm", &args).run()
    };
    // No rpm is in there, and no package that it knows.
    outside(&["--nodeps", "-i", &root.path("root/dnsalt.rpm").to_string_lossy()])?;
    fs::remove_file(root.path("root/dnsalt.rpm"))?;
    works(&root)?;
    outside(&["-e", "dnsalt"])?;
    all_is_gone(&root, &before)?;
    println!("\nAll passed.");
    Ok(())
}

/// The one file in the folder whose name ends so.
fn ends_in(dir: &Path, end: &str) -> anyhow::Result<PathBuf> {
    let found: Vec<_> = fs::read_dir(dir)
        .with_context(|| format!("{}: run `./x package` first", dir.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    match &found[..] {
        [one] => Ok(one.clone()),
        _ => bail!("{}: {} files end in {end}, not one", dir.display(), found.len()),
    }
}

/// It runs where there is nothing else.
fn needs_nothing(program: &Path, capture: &Path) -> anyhow::Result<()> {
    let root = Root::empty()?;
    fs::copy(program, root.path("dnsalt"))?;
    fs::copy(capture, root.path("capture.pcap"))?;
    root.run(&["/dnsalt", "--version"])?;
    judges(&root.run(&["/dnsalt", "check", "/capture.pcap"])?)?;
    root.run(&["/dnsalt", "rules", "--for", "nft"])?;
    Ok(())
}

fn judges(report: &str) -> anyhow::Result<()> {
    let as_made = report.contains("4,000 packets, 2,000 queries, 2,000 replies.");
    ensure!(as_made, "that is not what the capture has: {report}");
    Ok(())
}

/// What whoever installed it tries first.
fn works(root: &Root) -> anyhow::Result<()> {
    let version = root.run(&["dnsalt", "--version"])?;
    ensure!(version.trim() == concat!("dnsalt ", env!("CARGO_PKG_VERSION")), "{version}");
    judges(&root.run(&["dnsalt", "check", "/root/capture.pcap"])?)?;
    for verb in dnsalt::cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        root.run(&["man", "-w", &format!("dnsalt-{}", verb.get_name())])?;
    }
    root.run(&["man", "-w", "dnsalt"])?;
    root.sh("bash -n /usr/share/bash-completion/completions/dnsalt")?;
    let active = root.sh("grep -v '^#' /etc/dnsalt.toml | grep . || true")?;
    ensure!(active.is_empty(), "/etc/dnsalt.toml is not all comments: {active}");
    root.sh("dnsalt config --sample | cmp - /etc/dnsalt.toml")?;
    root.run(&["dnsalt", "rules", "--for", "nft"])?;
    // Both places: where a distribution has its own, and what only it calls so.
    root.sh(
        "test -f /usr/share/doc/dnsalt/copyright || test -f /usr/share/licenses/dnsalt/LICENSE-MIT",
    )?;
    Ok(())
}

/// systemd has nothing to say against the unit, and it is not enabled.
fn is_a_service(root: &Root) -> anyhow::Result<()> {
    let said = root.run(&["systemd-analyze", "verify", "dnsalt.service"])?;
    ensure!(said.is_empty(), "systemd-analyze verify: {said}");
    let security = "systemd-analyze security --no-pager --offline=true --threshold=29 \
                    $(find /lib/systemd/system /usr/lib/systemd/system -name dnsalt.service | head -n 1)";
    let said = root.sh(security)?;
    println!("   {}", said.lines().last().unwrap_or_default());
    let enabled = root.sh("systemctl is-enabled dnsalt.service || true")?;
    ensure!(enabled.trim() == "disabled", "the unit is {enabled}");
    Ok(())
}

/// What an administrator wrote is no business of the package.
fn configuration_is_kept(root: &Root) -> anyhow::Result<()> {
    let conffiles = root.run(&["dpkg-query", "-W", "-f", "${Conffiles}", "dnsalt"])?;
    ensure!(conffiles.contains("/etc/dnsalt.toml"), "no conffile: {conffiles}");
    Ok(())
}

/// Removed while the protection is in the kernel, it takes that away.
fn goes_with_its_protection(root: &Root) -> anyhow::Result<()> {
    let said = root.sh("ip link set lo up 2>/dev/null || true
         dnsalt up --engine nat --backend nft --no-health
         nft list tables | grep -q dnsalt
         dpkg -r dnsalt
         nft list tables")?;
    ensure!(!said.ends_with("table inet dnsalt\n"), "rules are left: {said}");
    // Made by dnsalt; its folder is on a tmpfs elsewhere.
    let _ = fs::remove_dir_all(root.path("run/dnsalt"));
    Ok(())
}

fn all_is_gone(root: &Root, before: &std::collections::BTreeSet<String>) -> anyhow::Result<()> {
    let now = root.files()?;
    let changed: Vec<_> = now.symmetric_difference(before).collect();
    ensure!(changed.is_empty(), "left, or taken too much: {changed:?}");
    Ok(())
}
