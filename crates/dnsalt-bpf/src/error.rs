//! What can go wrong with the kernel, and what to do about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::Hook;

/// What could not be done, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpfError {
    /// The kernel did not make the maps.
    #[error("making the maps of the salt engine: {}{}", chain(.cause), rights(.cause))]
    Maps {
        /// What the system said.
        cause: Box<EbpfError>,
    },
    /// The kernel did not take a program; with what its verifier said.
    #[error("loading {program} into the kernel: {cause}")]
    Load {
        /// Which.
        program: &'static str,
        /// What the system said.
        cause: Box<ProgramError>,
    },
    /// An interface could not be given what programs are attached to.
    #[error("making {interface} ready for the salt engine: {cause}")]
    Interface {
        /// Which.
        interface: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A program could not be attached to an interface.
    #[error("attaching {program} to {interface} through {hook}: {cause}")]
    Attach {
        /// Which.
        program: &'static str,
        /// Where.
        interface: String,
        /// How.
        hook: Hook,
        /// What the system said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is on an interface could not be asked for.
    #[error("asking what is on interface number {index}: {cause}")]
    Ask {
        /// Where.
        index: u32,
        /// What the system said.
        cause: io::Error,
    },
    /// A program could not be taken off an interface.
    #[error("taking the salt engine off interface number {index}: {cause}")]
    Detach {
        /// Where.
        index: u32,
        /// What the system said.
        cause: io::Error,
    },
    /// A map could not be read or written.
    #[error("the map {map}: {cause}")]
    Map {
        /// Which.
        map: &'static str,
        /// What the system said.
        cause: Box<MapError>,
    },
    /// The object has no such program or map.
    #[error("the eBPF object has no {0}: it was built from other sources (./x bpf)")]
    Missing(&'static str),
    /// No file system for what is to last.
    #[error(
        "{}: {cause}; mount one that lasts (mount -t bpf bpf /sys/fs/bpf), or name one with --bpffs", .dir.display()
    )]
    Bpffs {
        /// Where it was looked for.
        dir: PathBuf,
        /// What the system said, or what is wrong with it.
        cause: io::Error,
    },
    /// A bpffs would vanish with the command.
    #[error(
        "this command has mounts of its own (`ip netns exec` makes them), and what is pinned there would go with it; \
         use `nsenter --net=/run/netns/NAME`, or name a bpffs that lasts with --bpffs"
    )]
    ShortLived,
    /// What is pinned belongs to another version.
    #[error(
        "{}: belongs to another version of dnsalt; run `dnsalt down` with that one, or remove the folder",
        .0.display()
    )]
    OtherVersion(PathBuf),
    /// The policy has what the engine has not.
    #[error("the salt engine has no {0}; use --engine nat")]
    Unsupported(&'static str),
    /// A program could not be tried.
    #[error("trying a program of the kernel: {0}")]
    Trial(io::Error),
    /// No random numbers.
    #[error("no random numbers: {0}")]
    Random(io::Error),
}

/// What is behind an error, the nearest first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// An error with its causes, which the libraries leave out of their words; each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for said in causes(error).map(ToString::to_string) {
        if !text.contains(&said) {
            text += &format!(": {said}");
        }
    }
    text
}

/// What it takes, if that is what is missing.
fn rights(error: &(dyn Error + 'static)) -> &'static str {
    let denied = |io: &io::Error| io.kind() == io::ErrorKind::PermissionDenied;
    let mut causes = causes(error);
    if causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(denied)) {
        "; it needs root (CAP_BPF, CAP_NET_ADMIN)"
    } else {
        ""
    }
}
