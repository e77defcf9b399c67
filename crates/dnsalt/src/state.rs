//! What we installed, kept under /run/dnsalt: one folder for each network namespace.
//!
//! ```text
//!   /run/dnsalt/net-4026531840/     named by the inode of the namespace: the same seen from
//!       lock                        `ip netns exec`, `nsenter --net` and a container
//!       state.json                  written whole or not at all (a rename)
//!       rules.v4, rules.v6 ...      what iptables-restore was given
//! ```
//!
//! The kernel has the last word: the state tells what was wanted and by whom, the firewall what is
//! there. A state of another boot is stale and counts as none; so does one that cannot be read. The
//! folder is made by whoever takes the lock, and goes with it where no state is left in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use dnsalt_nat::driver::place;
use dnsalt_policy::Settings;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::engine::Engine;

const STATE: &str = "state.json";
const LOCK: &str = "lock";
/// How long to wait for another run of dnsalt.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is, or was about to be, installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The boot that it belongs to.
    boot: String,
    /// The policy and where it went.
    pub(crate) current: Installation,
    /// What there was before, for undoing.
    pub(crate) previous: Option<Installation>,
    /// Set once the rules are in and checked; a state without it was interrupted.
    pub(crate) complete: Option<Complete>,
    /// Set while `up --confirm` waits.
    pub(crate) unconfirmed: Option<Unconfirmed>,
}

/// A policy in a firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Installation {
    /// Complete settings.
    pub(crate) settings: Settings,
    /// What the engine works by: `nft`, `tcx` ...
    pub(crate) backend: String,
    /// Where the salt engine keeps what has to last; none for the nat engine.
    #[serde(default)]
    pub(crate) bpffs: Option<PathBuf>,
    #[serde(default)]
    pub(crate) up_at: Moment,
}

impl Installation {
    pub(crate) fn new(settings: Settings, engine: &dyn Engine) -> Self {
        let bpffs = engine.bpffs().map(Path::to_owned);
        let backend = engine.backend().to_owned();
        Installation { settings, backend, bpffs, up_at: Moment::now() }
    }

    /// Whether both are in the same place of the kernel, so that one takes the other's.
    pub(crate) fn shares_place(&self, other: &Installation) -> bool {
        match (&self.bpffs, &other.bpffs) {
            (None, None) => place(&self.backend) == place(&other.backend),
            (mine, theirs) => mine == theirs,
        }
    }
}

/// The rules as the kernel had them when we were done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Complete {
    pub(crate) fingerprint: String,
}

/// Who waits to undo an `up --confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unconfirmed {
    /// Tells this `up` from a later one.
    pub(crate) token: String,
    #[serde(default)]
    pub(crate) undone_at: Moment,
}

impl State {
    pub(crate) fn new(
        current: Installation,
        previous: Option<Installation>,
    ) -> anyhow::Result<Self> {
        Ok(State { boot: boot()?, current, previous, complete: None, unconfirmed: None })
    }
}

/// The folder of the network namespace that we run in.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store under `root`, /run/dnsalt as a rule. Nothing is made yet.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let namespace = fs::metadata("/proc/thread-self/ns/net")
            .context("/proc/thread-self/ns/net: is /proc mounted?")?;
        Ok(Store { folder: root.join(format!("net-{}", namespace.ino())) })
    }

    /// Where drivers keep their files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What an agent holds as long as it runs, so that there is only one; beside the folder, which goes
    /// with what is installed.
    pub(crate) fn agent(&self) -> anyhow::Result<File> {
        let path = self.folder.with_extension("agent");
        self.make_root()?;
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        open.with_context(|| format!("{}: cannot be opened", path.display()))
    }

    /// The state, if there is one of this boot. Where nobody can say which boot this is, it is of this one.
    ///
    /// # Errors
    /// When it is there and cannot be read: whoever took that for none would forget what is installed.
    pub(crate) fn read(&self) -> anyhow::Result<Option<State>> {
        let path = self.folder.join(STATE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("{}: cannot be read", path.display()))?,
        };
        Ok(serde_json::from_slice::<State>(&text)
            .ok()
            .filter(|state| boot().map_or(true, |boot| state.boot == boot)))
    }

    /// The state once nobody is changing it any more: one that is incomplete after that was
    /// interrupted.
    pub(crate) fn read_settled(&self) -> anyhow::Result<Option<State>> {
        match self.read()? {
            Some(state) if state.complete.is_none() => {
                let _lock = self.lock()?;
                self.read()
            }
            state => Ok(state),
        }
    }

    /// Replaces the state, whole or not at all.
    pub(crate) fn write(&self, state: &State) -> anyhow::Result<()> {
        let path = self.folder.join(STATE);
        let new = self.folder.join("state.json.new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(state)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        let written = write();
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written.with_context(|| format!("{}: cannot be written", path.display()))
    }

    /// Forgets everything, the lock's file as well: the last thing to do while holding it.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        clear(&self.folder).with_context(|| format!("{}: cannot be removed", self.folder.display()))
    }

    /// The folder of all network namespaces.
    fn make_root(&self) -> anyhow::Result<()> {
        let Some(root) = self.folder.parent() else { return Ok(()) };
        let made = DirBuilder::new().recursive(true).mode(0o755).create(root);
        made.with_context(|| format!("{}: cannot be made", root.display()))
    }

    /// Keeps other runs of dnsalt in this namespace out until the lock is dropped.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.folder.join(LOCK);
        let deadline = Instant::now() + PATIENCE;
        self.make_root()?;
        loop {
            match DirBuilder::new().mode(0o755).create(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made.with_context(|| format!("{}: cannot be made", self.folder.display()))?;
                }
            }
            let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let file = match open {
                // Somebody cleared the folder between the two steps; a link that leads nowhere stays.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && Instant::now() < deadline =>
                {
                    continue;
                }
                result => {
                    result.with_context(|| format!("{}: cannot be opened", path.display()))?
                }
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // The lock counts only if the file is still the one that others will open.
                Ok(()) if same_file(&file, &path) => {
                    return Ok(Lock { folder: self.folder.clone(), file });
                }
                Ok(()) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    bail!(
                        "another dnsalt is at work in this network namespace; try again when it is done"
                    );
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("{}: cannot be locked", path.display()));
                }
            }
        }
    }
}

/// Held while the state and the firewall are changed; the kernel drops it if we die.
#[derive(Debug)]
pub(crate) struct Lock {
    folder: PathBuf,
    file: File,
}

impl Drop for Lock {
    /// Whoever waited for the lock while another took everything away made the folder anew. One that was
    /// cleared by us may be another's by now, though, with another file for its lock.
    fn drop(&mut self) {
        if same_file(&self.file, &self.folder.join(LOCK))
            && matches!(self.folder.join(STATE).try_exists(), Ok(false))
        {
            let _ = clear(&self.folder);
        }
    }
}

/// Removes the folder; the lock's file last, since without it another begins to write there.
fn clear(folder: &Path) -> io::Result<()> {
    let not_there = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(folder) {
        Err(error) if not_there(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() != LOCK {
            let is_folder = entry.file_type()?.is_dir();
            let remove = if is_folder { fs::remove_dir_all } else { fs::remove_file };
            remove(entry.path())?;
        }
    }
    match fs::remove_file(folder.join(LOCK)).and_then(|()| fs::remove_dir(folder)) {
        // Another has the lock already: the folder is theirs.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) if not_there(&error) => Ok(()),
        removed => removed,
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => ours.ino() == theirs.ino() && ours.dev() == theirs.dev(),
        _ => false,
    }
}

fn boot() -> anyhow::Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(PATH).context(PATH)?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        (root, store)
    }

    fn state() -> State {
        let text =
            "from = ['10.0.0.0/8']\navoid = [53, '60-70']\nsource = '192.0.2.1'\nper-query = true";
        let nat = crate::engine::Nat::new(dnsalt_nat::driver::Backend::Nft, Path::new("/"));
        State::new(Installation::new(toml::from_str(text).unwrap(), &nat), None).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let (_root, store) = store();
        let _lock = store.lock().unwrap();
        assert_eq!(store.read().unwrap(), None);
        let state = state();
        store.write(&state).unwrap();
        assert_eq!(store.read().unwrap(), Some(state));
        store.clear().unwrap();
        assert_eq!(store.read().unwrap(), None);
        store.clear().unwrap();
    }

    #[test]
    fn a_state_of_another_boot_or_in_ruins_counts_as_none() {
        let (_root, store) = store();
        let _lock = store.lock().unwrap();
        store.write(&State { boot: "another".to_owned(), ..state() }).unwrap();
        assert_eq!(store.read().unwrap(), None);
        fs::write(store.folder().join("state.json"), "{\"boot\": \"cut o").unwrap();
        assert_eq!(store.read().unwrap(), None);
    }

    #[test]
    fn one_at_a_time() {
        let (_root, store) = store();
        let lock = store.lock().unwrap();
        let other = store.clone();
        let waiting = std::thread::spawn(move || {
            let _lock = other.lock().unwrap();
            Instant::now()
        });
        std::thread::sleep(Duration::from_millis(100));
        let released = Instant::now();
        drop(lock);
        assert!(waiting.join().unwrap() >= released);
    }

    #[test]
    fn who_waited_for_nothing_leaves_nothing() {
        let (root, store) = store();
        let lock = store.lock().unwrap();
        store.write(&state()).unwrap();
        let other = store.clone();
        let waiting = std::thread::spawn(move || {
            let _lock = other.lock().unwrap();
            other.read().unwrap()
        });
        std::thread::sleep(Duration::from_millis(100));
        store.clear().unwrap();
        drop(lock);
        assert_eq!(waiting.join().unwrap(), None);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn nobody_takes_away_what_another_has_written() {
        let (root, store) = store();
        let rounds = |_| {
            let store = store.clone();
            let state = state();
            std::thread::spawn(move || {
                for round in 0..500 {
                    let lock = store.lock().unwrap();
                    assert!(store.read().unwrap().is_none(), "round {round}");
                    store.write(&state).unwrap();
                    std::thread::yield_now();
                    assert!(store.read().unwrap().as_ref() == Some(&state), "round {round}");
                    store.clear().unwrap();
                    drop(lock);
                }
            })
        };
        let all: Vec<_> = (0..4).map(rounds).collect();
        for one in all {
            one.join().unwrap();
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_no_missing_state() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        fs::create_dir_all(store.folder().join("state.json")).unwrap();
        let said = format!("{:#}", store.read().unwrap_err());
        assert!(said.contains("state.json: cannot be read"), "{said}");
    }
}
