//! Programs that `./x test` unpacked without installing them: packages that would start a service
//! on the machine, or change its /etc/resolv.conf.

use std::path::Path;

use super::{Network, network};

/// As [`network`], and the host of the resolver sees the files of `package` in its /usr, unless
/// `program` is installed there anyway.
pub(crate) fn network_with(package: &str, program: &str, programs: &[&str]) -> Option<Network> {
    // Beside target/tmp.
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join(package);
    let unpacked = root.join(program.trim_start_matches('/')).is_file();
    if !unpacked && !Path::new(program).is_file() {
        eprintln!("skipped: not installed: {program}");
        return None;
    }
    let network = network(programs)?;
    if unpacked {
        // In the host's own mount namespace, and for reading only.
        let lay = "mount -t overlay -o lowerdir=usr:/usr overlay /usr";
        let laid = network.net.resolver.sh(&format!("cd '{}'; {lay}", root.display()));
        if let Err(why) = laid {
            eprintln!("skipped: files cannot be laid over /usr: {why}");
            return None;
        }
    }
    Some(network)
}
