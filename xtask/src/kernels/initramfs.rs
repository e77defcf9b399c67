//! What the guest consists of: a shell, the programs that tests use with their libraries, modules, the
//! tests, and a first process that runs them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::cpio::Archive;
use super::{Kernel, modules, name, tool};
use crate::step::Step;

/// What tests may need; those that are built in need not be there.
const MODULES: [&str; 17] = [
    "veth",
    "sch_ingress",
    "cls_bpf",
    "8021q",
    "ip_gre",
    "ipip",
    "sit",
    "nf_tables",
    "nf_conntrack",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_reject",
    "nft_reject_inet",
    "nft_counter",
    "nft_meta",
];

/// What tests may run, as far as it is installed. The shell is none of busybox's, which would take its
/// own `ip` for the one that we bring.
const PROGRAMS: [&str; 5] = ["sh", "ip", "tc", "nft", "ethtool"];

/// Commands of busybox that tests and the first process use.
const BUSYBOX: [&str; 9] =
    ["cat", "insmod", "ls", "mkdir", "mount", "reboot", "rm", "sleep", "uname"];

/// What runs in the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) programs: &'a [PathBuf],
    /// Parts of names of tests; all if there are none.
    pub(crate) tests: &'a [String],
    /// Parts of names of tests that are not run.
    pub(crate) skip: &'a [&'a str],
    /// Seconds after which the machine ends by itself, if nobody is there any more to end it.
    pub(crate) limit: u64,
}

/// Writes it.
pub(crate) fn write(path: &Path, kernel: &Kernel, arguments: &Arguments) -> anyhow::Result<()> {
    let modules = modules::in_order(&kernel.modules, &MODULES)?;
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut archive = Archive::new(BufWriter::new(file));
    for folder in ["bin", "dev", "etc", "modules", "proc", "run", "sys", "tests", "tmp"] {
        archive.folder(folder)?;
    }
    archive.file("bin/busybox", &fs::read(tool("bin/busybox", "busybox-static")?.0)?)?;
    for command in BUSYBOX {
        archive.link(&format!("bin/{command}"), "busybox")?;
    }
    // The lab lays its own over it.
    archive.file("etc/resolv.conf", b"")?;
    let mut libraries = Libraries::default();
    for program in PROGRAMS {
        if let Some(found) = find(program) {
            archive.file(&format!("bin/{program}"), &fs::read(&found)?)?;
            libraries.add_those_of(&found)?;
        }
    }
    for program in arguments.programs {
        archive.file(&format!("tests/{}", name(program)), &fs::read(program)?)?;
        libraries.add_those_of(program)?;
    }
    libraries.write(&mut archive)?;
    for module in &modules {
        archive.file(&format!("modules/{}.ko", module.name), &module.content)?;
    }
    let names = modules.iter().map(|module| &*module.name).collect::<Vec<_>>();
    archive.file("init", init(&names, arguments).as_bytes())?;
    archive.finish()?;
    Ok(())
}

/// The first process. Whatever happens, the machine is off after it: QEMU takes a reboot for the end.
fn init(modules: &[&str], arguments: &Arguments) -> String {
    let mut script = "\
#!/bin/sh
export PATH=/bin RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t bpf bpf /sys/fs/bpf
echo \"dnsalt-kernel: $(uname -r)\"
"
    .to_owned();
    let _ = writeln!(script, "(sleep {} && reboot -f) &", arguments.limit);
    for module in modules {
        let _ = writeln!(script, "insmod /modules/{module}.ko");
    }
    let mut words = String::new();
    for part in arguments.tests {
        let _ = write!(words, " '{part}'");
    }
    for part in arguments.skip {
        let _ = write!(words, " --skip '{part}'");
    }
    for program in arguments.programs {
        let name = name(program);
        let _ = writeln!(script, "/tests/{name} --test-threads=1 --show-output{words} 2>&1");
        let _ = writeln!(script, "echo \"dnsalt-ended: {name} $?\"");
    }
    script.push_str("reboot -f\n");
    script
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Shared libraries and the loader, where programs look for them.
#[derive(Debug, Default)]
struct Libraries(BTreeSet<PathBuf>);

impl Libraries {
    fn add_those_of(&mut self, program: &Path) -> anyhow::Result<()> {
        let text = Step::program("ldd", &[&program.to_string_lossy()]).output()?;
        self.0.extend(libraries(&String::from_utf8_lossy(&text)));
        Ok(())
    }

    fn write(&self, archive: &mut Archive<impl std::io::Write>) -> anyhow::Result<()> {
        let mut made = Vec::new();
        for path in &self.0 {
            let Ok(inside) = path.strip_prefix("/") else { bail!("{}", path.display()) };
            let mut folders: Vec<&Path> = inside.ancestors().skip(1).collect();
            folders.pop();
            for folder in folders.into_iter().rev() {
                if !made.contains(&folder) {
                    archive.folder(&folder.to_string_lossy())?;
                    made.push(folder);
                }
            }
            let content = fs::read(path).with_context(|| path.display().to_string())?;
            archive.file(&inside.to_string_lossy(), &content)?;
        }
        Ok(())
    }
}

/// Absolute paths in what ldd prints: `libc.so.6 => /lib/libc.so.6 (0x7f)`, `/lib64/ld.so (0x7f)`.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let line = line.trim();
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        let path = path.split_once(" (").map_or(path, |(path, _)| path);
        path.starts_with('/').then(|| path.into())
    };
    ldd.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_libraries() {
        let text = "\tlinux-vdso.so.1 (0x00007f9efb0b9000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f9efa81e000)
\tlibgone.so.1 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f9efb0bb000)
";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(text), expected.map(PathBuf::from));
    }

    #[test]
    fn the_first_process_runs_all_and_ends_the_machine() {
        let arguments = Arguments {
            programs: &["/t/salting-0f".into(), "/t/forging-0f".into()],
            tests: &["dead".to_owned()],
            skip: &["flood"],
            limit: 600,
        };
        let script = init(&["veth"], &arguments);
        assert!(script.contains("\ninsmod /modules/veth.ko\n"), "{script}");
        let run = "/tests/forging --test-threads=1 --show-output 'dead' --skip 'flood' 2>&1\n";
        assert!(script.contains(run), "{script}");
        assert!(script.ends_with("\"dnsalt-ended: forging $?\"\nreboot -f\n"), "{script}");
    }
}
