//! Where what has to last is kept: a folder in a bpffs, one for each network namespace.
//!
//! ```text
//!   BPFFS/dnsalt/net-4026531840/    named by the inode of the namespace, as the state is
//!       CONFIG, PORTS, SLOTS ...    the maps
//!       link-out-7, link-in-7       tcx links on interface 7; removed, they detach
//!       clsact-7                    there are filters on interface 7
//!       clsact-made-7               and the qdisc that holds them is ours
//! ```
//!
//! Nothing but maps and links can lie in a bpffs: the last two are names for the map `CONFIG`. A bpffs that
//! we mounted has our name for its source, so that it is known for ours from its first moment on, and by
//! whoever is the last to leave it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use aya::maps::MapData;
use rustix::fs::{major, minor, statfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::BpfError;
use crate::object::{MAPS, failed};

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const MAGIC: u64 = 0xcafe_4a11;
const USUAL: &str = "/sys/fs/bpf";
/// The source of a bpffs that we mounted; for others it is `bpf` or `none`.
const SOURCE: &str = "dnsalt";

/// The folder of this network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    dir: PathBuf,
}

/// A bpffs that lasts: the one named, or the usual one, which is mounted when something is to be kept
/// there.
///
/// # Errors
/// When there is none, or it would go with this command.
pub fn bpffs(named: Option<&Path>) -> Result<PathBuf, BpfError> {
    if let Some(dir) = named {
        return match is_bpffs(dir) {
            Ok(true) => Ok(dir.to_owned()),
            Ok(false) => Err(no_bpffs(dir, io::Error::other("not a bpffs"))),
            Err(cause) => Err(no_bpffs(dir, cause)),
        };
    }
    let dir = Path::new(USUAL);
    // What is mounted there already was not mounted by us for ourselves.
    if is_bpffs(dir).map_err(|cause| no_bpffs(dir, cause))? || mounts_last() {
        return Ok(dir.to_owned());
    }
    // What the first process sees lasts, if it can be seen from here.
    let lasting = Path::new("/proc/1/root").join(&USUAL[1..]);
    match is_bpffs(&lasting) {
        Ok(true) => Ok(lasting),
        _ => Err(BpfError::ShortLived),
    }
}

fn no_bpffs(dir: &Path, cause: io::Error) -> BpfError {
    BpfError::Bpffs { dir: dir.to_owned(), cause }
}

/// Mounts a bpffs where there is none yet.
pub(crate) fn mount_bpffs(dir: &Path) -> Result<(), BpfError> {
    if is_bpffs(dir).map_err(|cause| no_bpffs(dir, cause))? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(SOURCE, dir, "bpf", flags, c"mode=0700").map_err(|cause| no_bpffs(dir, cause.into()))
}

/// Takes away a bpffs that we mounted, unless somebody has something there.
pub(crate) fn unmount_bpffs(dir: &Path) -> Result<(), BpfError> {
    if !mounted_by_us(dir).map_err(|cause| no_bpffs(dir, cause))? {
        return Ok(());
    }
    // The kernel's own two, which are always there.
    let own = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".debug");
    let empty = fs::read_dir(dir).is_ok_and(|entries| entries.flatten().all(|entry| own(&entry)));
    if empty {
        let _ = unmount(dir, UnmountFlags::empty());
    }
    Ok(())
}

fn mounted_by_us(dir: &Path) -> io::Result<bool> {
    let device = fs::metadata(dir)?.dev();
    let device = format!("{}:{}", major(device), minor(device));
    // ID PARENT MAJOR:MINOR ROOT DIR OPTIONS ... - TYPE SOURCE OPTIONS
    let is_ours = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        Some(left.split(' ').nth(2)? == device && right.starts_with(&format!("bpf {SOURCE} ")))
    };
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
    Ok(mounts.lines().any(|line| is_ours(line).unwrap_or(false)))
}

/// The bpffs in which something of ours would be, if there is one.
pub fn find_bpffs() -> Option<PathBuf> {
    [PathBuf::from(USUAL), Path::new("/proc/1/root").join(&USUAL[1..])]
        .into_iter()
        .find(|dir| is_bpffs(dir).unwrap_or(false))
}

fn is_bpffs(dir: &Path) -> io::Result<bool> {
    // The type of a file system is a signed word of whatever width the machine has.
    Ok((statfs(dir)?.f_type.cast_unsigned() & 0xffff_ffff) as u64 == MAGIC)
}

/// Whether what is mounted here stays when this command is done. `ip netns exec` gives a command mounts
/// of its own, which go with it: who started it, or who started that, sees others.
fn mounts_last() -> bool {
    let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/mnt")).map(|it| it.ino());
    let Ok(ours) = namespace("thread-self") else { return true };
    let mut pid = "thread-self".to_owned();
    // The first process is its own ancestor, or has none.
    while let Some(parent) = parent(&pid).filter(|parent| *parent != pid && parent != "0") {
        if namespace(&parent).is_ok_and(|theirs| theirs != ours) {
            return false;
        }
        pid = parent;
    }
    true
}

/// From `PPid:` in `/proc/PID/status`.
fn parent(pid: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some(line.trim().to_owned())
}

impl Pins {
    /// The folder of the network namespace that we are in.
    pub(crate) fn of(bpffs: &Path) -> io::Result<Self> {
        let inode = fs::metadata("/proc/thread-self/ns/net")?.ino();
        Ok(Pins { dir: bpffs.join("dnsalt").join(format!("net-{inode}")) })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Whether all maps are there; some are, where somebody was interrupted. That they are of this version
    /// has to be looked at: the loader takes whatever it finds.
    pub(crate) fn fit(&self) -> Result<bool, BpfError> {
        let there: Vec<_> = MAPS.into_iter().filter(|(name, _, _)| self.has(name)).collect();
        for (name, key, value) in &there {
            let fits = MapData::from_pin(self.path(name)).and_then(|map| {
                let info = map.info()?;
                Ok(info.key_size() as usize == *key && info.value_size() as usize == *value)
            });
            if !fits.unwrap_or(false) {
                return Err(BpfError::OtherVersion(self.dir.clone()));
            }
        }
        Ok(there.len() == MAPS.len())
    }

    /// A name for the map `CONFIG`, as a mark.
    pub(crate) fn mark(&self, name: &str) -> Result<(), BpfError> {
        if self.has(name) {
            return Ok(());
        }
        let map = MapData::from_pin(self.path("CONFIG")).map_err(failed("CONFIG"))?;
        map.pin(self.path(name)).map_err(|cause| BpfError::Bpffs {
            dir: self.path(name),
            cause: io::Error::other(cause),
        })
    }

    /// The interfaces, by their indices, for which there is a name with this beginning.
    pub(crate) fn interfaces(&self, prefix: &str) -> Result<Vec<u32>, BpfError> {
        let index = |name: &OsStr| name.to_str()?.strip_prefix(prefix)?.parse::<u32>().ok();
        let names = self.names().map_err(|cause| no_bpffs(&self.dir, cause))?;
        let mut all: Vec<u32> = names.iter().filter_map(|name| index(name)).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// All that is in the folder; nothing, where there is none.
    fn names(&self) -> io::Result<Vec<OsString>> {
        match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|entry| Ok(entry?.file_name())).collect(),
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        // What is not there need not go.
        let _ = fs::remove_file(self.path(name));
    }

    /// Removes the folder with all that is in it, and the one above unless others have theirs there.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for name in self.names()? {
            fs::remove_file(self.dir.join(name))?;
        }
        match fs::remove_dir(&self.dir) {
            // Whoever took it away may have been killed before the one above went.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
        if let Some(above) = self.dir.parent() {
            // It may hold what belongs to other namespaces.
            let _ = fs::remove_dir(above);
        }
        Ok(())
    }
}
