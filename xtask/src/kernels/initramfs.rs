//! What the guest consists of: a shell, the programs that tests use with their libraries, modules, the
//! tests, and a first process that runs them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::cpio::Archive;
use super::{Kernel, Programs, modules, name, tool};
use crate::step::Step;

/// What tests may need; those that are built in need not be there.
const MODULES: [&str; 14] = [
    "veth",
    "sch_ingress",
    "cls_bpf",
    "8021q",
    "ip_gre",
    "ipip",
    "sit",
    "nf_tables",
    "nft_counter",
    "nft_fib_inet",
    "nft_meta",
    "nft_numgen",
    "nft_objref",
    "nft_reject_inet",
];
/// The same, of what rests on conntrack: a test takes it out, and puts it back.
const CONNTRACK: [&str; 7] = [
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nfnetlink_cttimeout",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
];

/// What tests may run, as far as it is installed. The shell is none of busybox's, which would take its
/// own `ip` for the one that we bring.
const PROGRAMS: [&str; 5] = ["sh", "ip", "tc", "nft", "ethtool"];

/// Commands of busybox that tests and the first process use.
const BUSYBOX: [&str; 10] =
    ["cat", "insmod", "ls", "mkdir", "mount", "reboot", "rm", "rmmod", "sleep", "uname"];

/// What runs in the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) programs: &'a Programs,
    /// Parts of names of tests; all if there are none.
    pub(crate) tests: &'a [String],
    /// Parts of names of tests that are not run.
    pub(crate) skip: &'a [&'a str],
    /// Seconds after which the machine ends by itself, if nobody is there any more to end it.
    pub(crate) limit: u64,
}

/// Writes it.
pub(crate) fn write(path: &Path, kernel: &Kernel, arguments: &Arguments) -> anyhow::Result<()> {
    let modules = modules::in_order(&kernel.modules, &[&MODULES[..], &CONNTRACK].concat())?;
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
    let mut in_place = InPlace::default();
    for program in PROGRAMS {
        if let Some(found) = find(program) {
            archive.file(&format!("bin/{program}"), &fs::read(&found)?)?;
            in_place.libraries_of(&found)?;
        }
    }
    for test in &arguments.programs.tests {
        archive.file(&format!("tests/{}", name(test)), &stripped(test)?)?;
        in_place.libraries_of(test)?;
    }
    for program in &arguments.programs.tested {
        in_place.add(program, stripped(program)?);
        in_place.libraries_of(program)?;
    }
    in_place.write(&mut archive)?;
    for module in &modules {
        archive.file(&format!("modules/{}.ko", module.name), &module.content)?;
    }
    let names = modules.iter().map(|module| &*module.name).collect::<Vec<_>>();
    archive.file("modules/load", load(&names).as_bytes())?;
    archive.file("modules/conntrack", conntrack(&names).as_bytes())?;
    archive.file("init", init(arguments).as_bytes())?;
    archive.finish()?;
    Ok(())
}

/// The first process. Nothing is mounted on /tmp: what is tested may have been built below it. Whatever
/// happens, the machine is off after it: QEMU takes a reboot for the end.
fn init(arguments: &Arguments) -> String {
    let mut script = "\
#!/bin/sh
export PATH=/bin RUST_BACKTRACE=0 DNSALT_GUEST=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
echo \"dnsalt-kernel: $(uname -r)\"
"
    .to_owned();
    let _ = writeln!(script, "(sleep {} && reboot -f) &", arguments.limit);
    script.push_str("sh /modules/load\n");
    let mut words = String::new();
    for part in arguments.tests {
        let _ = write!(words, " '{part}'");
    }
    for part in arguments.skip {
        let _ = write!(words, " --skip '{part}'");
    }
    for test in &arguments.programs.tests {
        let name = name(test);
        let _ = writeln!(script, "/tests/{name} --show-output{words} 2>&1");
        let _ = writeln!(script, "echo \"dnsalt-ended: {name} $?\"");
    }
    script.push_str("reboot -f\n");
    script
}

/// A script that loads the modules that are not loaded.
fn load(modules: &[&str]) -> String {
    modules.iter().fold(String::new(), |mut script, module| {
        let _ = writeln!(script, "[ -d /sys/module/{module} ] || insmod /modules/{module}.ko");
        script
    })
}

/// The names of those that rest on conntrack, in the order in which they can be taken out.
fn conntrack(modules: &[&str]) -> String {
    let first = modules.iter().position(|module| *module == CONNTRACK[0]);
    let those = first.map_or(&[][..], |first| &modules[first..]);
    those.iter().rev().fold(String::new(), |list, module| list + module + "\n")
}

/// A program without what debuggers read, which is most of it.
fn stripped(program: &Path) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("stripped");
    Step::program("strip", &["-o", &file.to_string_lossy(), &program.to_string_lossy()])
        .output()?;
    Ok(fs::read(file)?)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// What stands where it stands here: shared libraries and the loader, where programs look for them, and
/// programs that tests know by their paths.
#[derive(Debug, Default)]
struct InPlace(BTreeMap<PathBuf, Vec<u8>>);

impl InPlace {
    fn add(&mut self, path: &Path, content: Vec<u8>) {
        self.0.insert(path.to_owned(), content);
    }

    fn libraries_of(&mut self, program: &Path) -> anyhow::Result<()> {
        let text = Step::program("ldd", &[&program.to_string_lossy()]).output()?;
        for path in libraries(&String::from_utf8_lossy(&text)) {
            let content = fs::read(&path).with_context(|| path.display().to_string())?;
            self.add(&path, content);
        }
        Ok(())
    }

    fn write(&self, archive: &mut Archive<impl std::io::Write>) -> anyhow::Result<()> {
        let mut made = Vec::new();
        for (path, content) in &self.0 {
            let Ok(inside) = path.strip_prefix("/") else { bail!("{}", path.display()) };
            let mut folders: Vec<&Path> = inside.ancestors().skip(1).collect();
            folders.pop();
            for folder in folders.into_iter().rev() {
                if !made.contains(&folder) {
                    archive.folder(&folder.to_string_lossy())?;
                    made.push(folder);
                }
            }
            archive.file(&inside.to_string_lossy(), content)?;
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
        let tests = vec!["/t/salting-0f".into(), "/t/forging-0f".into()];
        let arguments = Arguments {
            programs: &Programs { tests, tested: Vec::new() },
            tests: &["dead".to_owned()],
            skip: &["flood"],
            limit: 600,
        };
        let script = init(&arguments);
        let run = "/tests/forging --show-output 'dead' --skip 'flood' 2>&1\n";
        assert!(script.contains(run), "{script}");
        assert!(script.ends_with("\"dnsalt-ended: forging $?\"\nreboot -f\n"), "{script}");
    }

    #[test]
    fn what_rests_on_conntrack_goes_last_first() {
        let modules = ["veth", "nf_tables", "nf_conntrack", "nft_ct"];
        assert_eq!(conntrack(&modules), "nft_ct\nnf_conntrack\n");
        assert_eq!(conntrack(&modules[..2]), "");
        let script = load(&modules);
        assert!(
            script.ends_with("[ -d /sys/module/nft_ct ] || insmod /modules/nft_ct.ko\n"),
            "{script}"
        );
    }
}
