//! The script `x` on machines that lack something: its world is a folder of stand-ins on `PATH`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `x` takes for granted of a POSIX system.
const STANDARD: [&str; 12] =
    ["cat", "dirname", "env", "grep", "head", "id", "mktemp", "printf", "rm", "sed", "sh", "sort"];

/// A stand-in for rustup's installer: it brings a cargo that tells its arguments.
const INSTALLER: &str = r#"mkdir -p "$CARGO_HOME/bin"
cat > "$CARGO_HOME/bin/cargo" <<'END'
#!/bin/sh
[ "$1" = --version ] && echo 'cargo 1.99.0 (fake)' || echo "cargo $*"
END
chmod +x "$CARGO_HOME/bin/cargo"
"#;

struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("dnsalt-x-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("bin")).unwrap();
        for program in STANDARD.iter().chain(&["chmod", "ln", "mkdir", "mv", "tar"]) {
            let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            let found = found.iter().find(|path| path.exists()).unwrap();
            symlink(found, root.join("bin").join(program)).unwrap();
        }
        Machine(root)
    }

    fn with(self, program: &str, script: &str) -> Self {
        let path = self.0.join("bin").join(program);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Runs `x`: its exit code and what it said. The machine's own folders of programs are cut
    /// from the script, and so is the Rust that may be there.
    fn x(&self, args: &[&str]) -> (Option<i32>, String) {
        let text = fs::read_to_string("../x").unwrap();
        let text = text
            .replace(":/usr/local/sbin:/usr/sbin:/sbin", "")
            .replace("/usr/lib/rust-", "/nowhere/rust-")
            .replace("/usr/lib/llvm-", "/nowhere/llvm-")
            .replace("in /usr/bin /", "in /")
            .replace("-x \"/$program\"", "-x \"/nowhere/$program\"");
        fs::write(self.0.join("x"), text).unwrap();
        fs::write(self.0.join("Cargo.toml"), "rust-version = \"1.88\"\n").unwrap();
        let output = Command::new("/bin/sh")
            .arg(self.0.join("x"))
            .args(args)
            .env_clear()
            .env("PATH", self.0.join("bin"))
            .env("CARGO_HOME", self.0.join("cargo"))
            .env("XDG_CACHE_HOME", self.0.join("cargo"))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn cargo_of(version: &str) -> String {
    format!("[ \"$1\" = --version ] && echo 'cargo {version} (fake)' || echo \"cargo $*\"")
}

#[test]
fn a_cargo_that_is_new_enough_is_used() {
    let machine = Machine::new("new").with("cargo", &cargo_of("1.88.0"));
    let (code, said) = machine.x(&["man", "a dir"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "cargo run --locked --quiet --package xtask -- man a dir\n")
    );
}

#[test]
fn rustup_brings_what_is_missing() {
    for (name, old) in [("none", None), ("old", Some("0.66.0"))] {
        let mut machine = Machine::new(name).with(
            "curl",
            &format!(
                "while [ \"$1\" != -o ]; do shift; done\ncat > \"$2\" <<'EOF'\n{INSTALLER}EOF"
            ),
        );
        if let Some(old) = old {
            machine = machine.with("cargo", &cargo_of(old));
        }
        let (code, said) = machine.x(&["man"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("x: installing Rust with rustup"), "{said}");
        assert!(said.contains("cargo run --locked"), "{said}");
        // It is found again, though it is not on PATH.
        let (code, said) = machine.x(&["man"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains("installing"), "{said}");
    }
}

#[test]
fn a_download_that_fails_is_noticed() {
    let machine = Machine::new("offline").with("curl", "exit 6");
    let (code, said) = machine.x(&["man"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("install Rust 1.88 or newer"), "{said}");
}

#[test]
fn a_package_is_the_second_choice() {
    let newer = "echo '  Candidate: 1.96.0+dfsg1-1'";
    let apt_cache =
        format!("case $* in *web*) {newer} ;; policy*) echo '  Candidate: 0.66.0' ;; esac");
    let machine = Machine::new("packages")
        .with("curl", "exit 6")
        .with("sudo", "exec \"$@\"")
        .with("apt-cache", &apt_cache)
        .with("apt-get", "echo \"apt-get $*\"");
    let (_, said) = machine.x(&["man"]);
    let asked =
        "x: installing with apt-get: cargo-web rustc-web rust-web-clippy rustfmt-web\napt-get ";
    assert!(said.contains(asked), "{said}");
    assert!(said.contains("--no-remove cargo-web rustc-web"), "{said}");
}

#[test]
fn an_old_toolchain_of_rustup_is_left_alone() {
    let machine =
        Machine::new("rustup").with("cargo", &cargo_of("1.70.0")).with("rustup", "exit 1");
    let (code, said) = machine.x(&["man"]);
    assert_eq!(code, Some(3));
    assert_eq!(
        said,
        "x: Rust 1.88 or newer is needed, here is 1.70.0; please run: rustup update\n"
    );
}

#[test]
fn without_apt_what_is_missing_is_named() {
    let machine = Machine::new("other").with("sudo", "exit 1");
    let (code, said) = machine.x(&["demo"]);
    assert_eq!(code, Some(3));
    assert_eq!(
        said,
        "x: there is no apt-get; install these and try again: cc nft ip iptables conntrack\n"
    );
}

/// A rustc of rustup's nightly that has its source: it stands in a sysroot of its own.
fn nightly_of(machine: Machine) -> Machine {
    let bin = machine.0.join("bin").display().to_string();
    let source = machine.0.join("lib/rustlib/src/rust/library/core");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("Cargo.toml"), "").unwrap();
    let rustup = format!("[ \"$1\" = which ] && echo {bin}/$4");
    let rustc = format!(
        "case $1 in --print) echo {} ;; -vV) echo 'LLVM version: 22.1.4' ;; esac",
        machine.0.display()
    );
    let machine = machine.with("cargo", &cargo_of("1.88.0")).with("cc", "");
    machine.with("rustup", &rustup).with("rustc", &rustc)
}

#[test]
fn the_nightly_of_rustup_builds_the_object() {
    let machine = nightly_of(Machine::new("nightly"));
    let folder = "cargo/dnsalt/bpf-linker-0.13.0-llvm-22/bin";
    fs::create_dir_all(machine.0.join(folder)).unwrap();
    let linker = machine.0.join(folder).join("bpf-linker");
    symlink(machine.0.join("bin/linker"), &linker).unwrap();
    let machine = machine.with("linker", "echo 'bpf-linker 0.13.0'");
    let (code, said) = machine.x(&["bpf", "--compare"]);
    let bin = machine.0.join("bin");
    let expected = format!(
        "cargo run --locked --quiet --package xtask -- bpf --cargo {0}/cargo --rustc {0}/rustc \
         --linker {1} --compare\n",
        bin.display(),
        linker.display()
    );
    assert_eq!((code, said), (Some(0), expected));
}

#[test]
fn without_llvm_there_is_no_linker() {
    let (code, said) = nightly_of(Machine::new("llvm")).x(&["bpf"]);
    assert_eq!(code, Some(3));
    assert!(said.contains("x: LLVM 22 with its headers is needed"), "{said}");
}

#[test]
fn the_manifest_is_checked_without_a_toolchain() {
    let machine = Machine::new("check").with("cargo", &cargo_of("1.88.0"));
    let (code, said) = machine.x(&["bpf", "--check"]);
    let expected = "cargo run --locked --quiet --package xtask -- bpf --check\n";
    assert_eq!((code, said.as_str()), (Some(0), expected));
}

#[test]
fn some_programs_are_unpacked_and_not_installed() {
    // A package as they were before everything moved to /usr; there are no others.
    let apt_get = "echo \"apt-get $*\"
        for word; do case $word in Dir::Cache::archives=*) debs=${word#*=} ;; esac; done
        case $* in update) exit ;; *' systemd-resolved') ;; *) exit 100 ;; esac
        mkdir -p \"$debs/../made/lib/systemd\" && cd \"$debs/../made\" || exit
        echo > lib/systemd/systemd-resolved && chmod +x lib/systemd/systemd-resolved
        tar -cf \"$debs/one.deb\" ./lib";
    let mut machine = Machine::new("unpack")
        .with("apt-get", apt_get)
        .with("dpkg-deb", "[ \"$1\" = --fsys-tarfile ] && exec cat \"$2\"")
        .with("cargo", &cargo_of("1.88.0"));
    let installed = "cc nft ip iptables conntrack nfct nmap tcpdump named dig pgrep nsenter setpriv \
                     setarch strace ethtool systemd-analyze shellcheck man tmux unbound dnsmasq adnshost perl \
                     openssl";
    for program in installed.split_whitespace() {
        machine = machine.with(program, "");
    }
    let (code, said) = machine.x(&["test"]);
    assert_eq!(code, Some(0), "{said}");
    let asked =
        said.lines().filter(|line| line.starts_with("apt-get ") && line.contains("install"));
    assert!(asked.clone().all(|line| line.contains("--download-only")), "{said}");
    assert_eq!(asked.count(), 10, "{said}");
    assert!(said.contains("x: could not get nginx: what is tested with it is skipped\n"), "{said}");
    assert!(!said.contains("could not get systemd-resolved"), "{said}");
    assert!(said.contains("cargo run --locked --package xtask -- test"), "{said}");
    let tools = machine.0.join("target/tools");
    assert!(tools.join("systemd-resolved/usr/lib/systemd/systemd-resolved").is_file());
    assert_eq!(fs::read_dir(tools).unwrap().count(), 1, "nothing is left of what failed");
    let (_, said) = machine.x(&["test"]);
    assert!(!said.contains("unpacking into target/tools/systemd-resolved"), "{said}");
}

#[test]
fn kernels_are_the_newest_of_each_series_and_never_installed() {
    let offered = "case $* in search*) ;; *) exit 1 ;; esac
        for version in 6.1.0-9 5.10.0-32 6.1.0-56 6.12.9+deb12 6.1.0-47; do
            echo \"linux-image-$version-cloud-amd64 - Linux for x86-64 cloud (signed)\"
        done";
    let apt_get = "echo \"apt-get $*\"
        case $* in *download\\ linux-image-*) echo > \"$3.deb\" ;; *) exit 100 ;; esac";
    let mut machine = Machine::new("kernels")
        .with("apt-cache", offered)
        .with("apt-get", apt_get)
        .with("dpkg-deb", "[ \"$1\" = -x ] && [ -f \"$2\" ] && mkdir \"$3/boot\"")
        .with("uname", "echo x86_64")
        .with("cargo", &cargo_of("1.88.0"));
    symlink("/usr/bin/awk", machine.0.join("bin/awk")).unwrap();
    for program in ["cc", "ip", "nft"] {
        machine = machine.with(program, "");
    }
    let (code, said) = machine.x(&["test-kernels", "--emulate"]);
    assert_eq!(code, Some(0), "{said}");
    let kernel = |name: &str| format!("--kernel target/kernels/linux-image-{name}-cloud-amd64");
    let all = [&kernel("6.1.0-56"), " ", &kernel("6.12.9+deb12"), " --emulate\n"].concat();
    assert!(said.contains(&format!("xtask -- kernels {all}")), "{said}");
    assert!(!said.contains("5.10") && !said.contains("6.1.0-47"), "{said}");
    let installs = said.lines().filter(|line| line.starts_with("apt-get -q install"));
    assert!(installs.into_iter().all(|line| line.contains("--download-only")), "{said}");
    let (code, said) = machine.x(&["test-kernels", "--emulate"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("apt-get -q download"), "{said}");
    let (_, said) = machine.x(&["test-kernels", "--kernel", "/k"]);
    assert!(said.contains("xtask -- kernels --kernel /k\n"), "{said}");
}

#[test]
fn packages_are_made_with_tools_of_their_own() {
    // It builds a tool into the folder that it is given.
    let cargo = "case $1 in --version) echo 'cargo 1.88.0 (fake)' ;; install)
            while [ \"$1\" != --root ]; do tool=${tool:-$2}; shift; done
            mkdir -p \"$2/bin\" && echo > \"$2/bin/$tool\" && chmod +x \"$2/bin/$tool\" ;;
        *) echo \"cargo $*\"; command -v cargo-deb; command -v cargo-generate-rpm ;; esac";
    let sysroot = "cargo/lib/rustlib/x86_64-unknown-linux-musl";
    let mut machine = Machine::new("package").with("cargo", cargo).with("uname", "echo x86_64");
    let rustc = format!("echo {}", machine.0.join("cargo").display());
    let rustup = format!("echo \"rustup $*\"; mkdir -p {}", machine.0.join(sysroot).display());
    machine = machine.with("rustc", &rustc).with("rustup", &rustup);
    for program in ["cc", "musl-gcc", "dpkg-shlibdeps"] {
        machine = machine.with(program, "");
    }
    let (code, said) = machine.x(&["package", "out"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("rustup target add x86_64-unknown-linux-musl"), "{said}");
    assert!(said.contains("x: building cargo-deb 3.8.0 with cargo into "), "{said}");
    assert!(said.contains("cargo run --locked --quiet --package xtask -- package out\n"), "{said}");
    assert!(said.contains("/dnsalt/cargo-generate-rpm-0.21.1/bin/cargo-generate-rpm\n"), "{said}");
    // The second time all is there.
    let (code, said) = machine.x(&["package", "--only", "deb"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("building") && !said.contains("rustup"), "{said}");
}

#[test]
fn mistakes_are_usage() {
    let machine = Machine::new("usage");
    assert_eq!(machine.x(&["demo", "now"]).0, Some(2));
    assert_eq!(machine.x(&[]).0, Some(0));
}
