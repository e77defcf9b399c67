//! The salt engine in older kernels than this machine's: each boots in QEMU with a small initramfs,
//! and the tests of `dnsalt-bpf` run in it as they do here, with those that want a machine of their own.
//!
//! ```text
//!   cargo test --no-run ──test programs──┐     and dnsalt itself
//!   ldd: ip, tc, nft ──with libraries────┼──initramfs──▶ QEMU ──serial console──▶ results
//!   modules of the kernel ───────────────┘
//! ```
//!
//! Nothing is installed and nothing shared with the guest: it has no disk and no network card.

mod cpio;
mod guest;
mod initramfs;
mod modules;
mod results;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::step::Step;
use guest::Guest;
use results::Results;

/// Which kernels, and how long they may take.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A kernel: a folder that has boot/vmlinuz-VERSION and lib/modules/VERSION in it; may be repeated
    #[arg(long = "kernel", value_name = "DIR", required = true)]
    kernels: Vec<PathBuf>,

    /// Only tests whose names have one of these in them, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tests: Vec<String>,

    /// Emulate the processor, even where KVM is usable
    #[arg(long)]
    emulate: bool,

    /// Seconds that each kernel has
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    timeout: u64,
}

/// Runs the tests in each; fails when one does.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let kernels: Vec<Kernel> =
        options.kernels.iter().map(|folder| Kernel::in_folder(folder)).collect::<Result<_, _>>()?;
    let programs = Programs::build()?;
    let folder = target().join("kernels-run");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut accelerated = !options.emulate && guest::has_kvm();
    let mut summary = Vec::new();
    let mut failed = Vec::new();
    for kernel in &kernels {
        let run = |accelerated| run_in(kernel, &folder, &programs, options, accelerated);
        let mut results = run(accelerated)?;
        if results.broken {
            println!("KVM does not work here: emulated from now on");
            accelerated = false;
            results = run(accelerated)?;
        }
        if let Err(why) = results.verdict(&programs.tests) {
            failed.push(format!("Linux {}: {why}", kernel.version));
        }
        summary.push(format!("Linux {}: {results}", kernel.version));
    }
    println!("\n{}", summary.join("\n"));
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

fn run_in(
    kernel: &Kernel,
    folder: &Path,
    programs: &Programs,
    options: &Options,
    accelerated: bool,
) -> anyhow::Result<Results> {
    let initrd = folder.join(format!("initramfs-{}", kernel.version));
    let arguments = initramfs::Arguments {
        programs,
        tests: &options.tests,
        // A million packets would take minutes.
        skip: if accelerated { &[] } else { &["a_flood_of"] },
        limit: options.timeout,
    };
    initramfs::write(&initrd, kernel, &arguments)
        .with_context(|| format!("the initramfs of Linux {}", kernel.version))?;
    let guest = Guest { kernel: &kernel.image, initrd: &initrd, accelerated };
    let results = guest.run(Duration::from_secs(options.timeout));
    // 90 MB that nobody needs any more.
    let _ = fs::remove_file(&initrd);
    results
}

/// A kernel that is unpacked somewhere.
#[derive(Debug)]
pub(crate) struct Kernel {
    version: String,
    image: PathBuf,
    /// Has `kernel/` and `modules.builtin` in it.
    modules: PathBuf,
}

impl Kernel {
    fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let none = || format!("{}: no boot/vmlinuz-VERSION", folder.display());
        let version = fs::read_dir(folder.join("boot"))
            .with_context(none)?
            .flatten()
            .find_map(|entry| {
                Some(entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned())
            })
            .with_context(none)?;
        let image = folder.join("boot").join(format!("vmlinuz-{version}"));
        let modules = ["lib/modules", "usr/lib/modules"]
            .map(|place| folder.join(place).join(&version))
            .into_iter()
            .find(|modules| modules.is_dir())
            .with_context(|| format!("{}: no lib/modules/{version}", folder.display()))?;
        Ok(Kernel { version, image, modules })
    }
}

/// What is built to run there.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    /// Test harnesses.
    pub(crate) tests: Vec<PathBuf>,
    /// What they start, by its path.
    pub(crate) tested: Vec<PathBuf>,
}

impl Programs {
    /// Those that need a kernel, and those that need one to themselves.
    fn build() -> anyhow::Result<Self> {
        let mut programs = Programs::default();
        for (package, tests) in [("dnsalt-bpf", "*"), ("dnsalt", "own_machine")] {
            let what = ["test", "--locked", "--package", package, "--test", tests, "--no-run"];
            Step::cargo(&[&what[..], &["--message-format", "json-render-diagnostics"]].concat())
                .run_lines(|line| programs.add(line))?;
        }
        if programs.tests.is_empty() {
            bail!("cargo named no test programs");
        }
        programs.tests.sort();
        Ok(programs)
    }

    /// Takes the program that a message of cargo tells of.
    fn add(&mut self, message: &str) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(message) else { return };
        let Some(path) = message["executable"].as_str() else { return };
        let of =
            if message["profile"]["test"] == true { &mut self.tests } else { &mut self.tested };
        of.push(path.into());
    }
}

/// The name of a test program, without the hash that cargo gives it.
pub(crate) fn name(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-').map_or(&*name, |(name, _)| name).to_owned()
}

/// A program of the machine, or one that `./x` unpacked, with the folder that then stands for `/`.
pub(crate) fn tool(path: &str, package: &str) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
    let here = Path::new("/").join(path);
    if here.is_file() {
        return Ok((here, None));
    }
    let root = target().join("tools").join(package);
    let unpacked = root.join(path);
    if !unpacked.is_file() {
        bail!("there is no /{path}: run ./x test-kernels, which gets it");
    }
    Ok((unpacked, Some(root)))
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    crate::step::root().join(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_known_by_its_image() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Kernel::in_folder(folder.path()).is_err());
        fs::create_dir_all(folder.path().join("boot")).unwrap();
        fs::write(folder.path().join("boot/vmlinuz-5.15.0-cloud"), "").unwrap();
        let error = Kernel::in_folder(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("no lib/modules/5.15.0-cloud"), "{error}");
        fs::create_dir_all(folder.path().join("usr/lib/modules/5.15.0-cloud")).unwrap();
        assert_eq!(Kernel::in_folder(folder.path()).unwrap().version, "5.15.0-cloud");
    }

    #[test]
    fn cargo_names_test_programs() {
        let mut programs = Programs::default();
        for line in [
            r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":"/t/debug/deps/salting-00ff"}"#,
            r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":"/t/debug/dnsalt"}"#,
            r#"{"reason":"build-finished","executable":null}"#,
            "Finished",
        ] {
            programs.add(line);
        }
        assert_eq!(name(&programs.tests[0]), "salting");
        assert_eq!(programs.tested, ["/t/debug/dnsalt".into()] as [PathBuf; 1]);
        assert_eq!(programs.tests.len(), 1);
    }
}
