//! Programs that `./x test` unpacked without installing them: packages that would start a service
//! on the machine, or change its /etc/resolv.conf.

use std::path::{Path, PathBuf};

use dnsalt_lab::Host;

use super::{Network, network};

/// As [`network`], and the host of the resolver sees the files of `package` in its /usr, unless
/// `program` is installed there anyway.
pub(crate) fn network_with(package: &str, program: &str, programs: &[&str]) -> Option<Network> {
    if !is_there(package, program) {
        return None;
    }
    let network = network(programs)?;
    lay_over(&network.net.resolver, package, program).then_some(network)
}

/// Whether a program is unpacked or installed; says so if not.
pub(crate) fn is_there(package: &str, program: &str) -> bool {
    let there = is_unpacked(package, program) || Path::new(program).is_file();
    if !there {
        eprintln!("skipped: not installed: {program}");
    }
    there
}

/// Makes a host see the files of a package in its /usr, unless the program is installed anyway. Whether that
/// could be done; says why not.
pub(crate) fn lay_over(host: &Host, package: &str, program: &str) -> bool {
    if !is_unpacked(package, program) {
        return true;
    }
    // In the host's own mount namespace, and for reading only.
    let lay = "mount -t overlay -o lowerdir=usr:/usr overlay /usr";
    match host.sh(&format!("cd '{}'; {lay}", root(package).display())) {
        Ok(_) => true,
        Err(why) => {
            eprintln!("skipped: files cannot be laid over /usr: {why}");
            false
        }
    }
}

/// Beside target/tmp.
fn root(package: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join(package)
}

fn is_unpacked(package: &str, program: &str) -> bool {
    root(package).join(program.trim_start_matches('/')).is_file()
}
