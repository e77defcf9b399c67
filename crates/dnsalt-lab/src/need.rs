//! What the lab needs, and how to say that it is not there.

use rustix::thread::{CapabilitySet, capabilities};

/// Why the lab cannot run here, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Skip(String);

/// Whether we may make namespaces.
///
/// # Errors
/// When the rights for it are missing.
pub fn require_root() -> Result<(), Skip> {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    let have = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if have.contains(needed) {
        Ok(())
    } else {
        Err(Skip(
            "making namespaces needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN); run it with sudo"
                .to_owned(),
        ))
    }
}

/// Whether these programs are installed.
///
/// # Errors
/// Names those that are not.
pub fn require(programs: &[&str]) -> Result<(), Skip> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<_> = programs
        .iter()
        .copied()
        .filter(|program| {
            !std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        })
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Skip(format!("not installed: {}", missing.join(", "))))
    }
}
