//! A machine of the lab: a thread with namespaces of its own.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::thread::UnshareFlags;

use crate::LabError;
use crate::command::HostCommand;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long a link may take to carry.
const PATIENCE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// A machine of its own. Its namespaces end with it and the last of its processes and sockets.
#[derive(Debug)]
pub struct Host {
    name: String,
    thread_id: u32,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Makes a host that has nothing but `lo`.
    ///
    /// # Errors
    /// When a namespace or a mount is refused; [`crate::require_root`] tells before.
    pub fn new(name: &str) -> Result<Self, LabError> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (ready, made) = mpsc::channel();
        let thread_name = name.to_owned();
        let thread = std::thread::Builder::new()
            .name(thread_name.clone())
            .spawn(move || {
                let result = isolate(&thread_name);
                let made = result.is_ok();
                let _ = ready.send(result);
                if made {
                    for job in work {
                        job();
                    }
                }
            })
            .map_err(|cause| error(name, "starting its thread", cause))?;
        let thread_id = made.recv().unwrap_or_else(|_| {
            Err(error(name, "starting its thread", io::ErrorKind::BrokenPipe.into()))
        })?;
        let host =
            Host { name: name.to_owned(), thread_id, jobs: Some(jobs), thread: Some(thread) };
        // Addresses are usable at once, and not after a second of duplicate address detection.
        host.sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        host.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        host.up("lo")?;
        Ok(host)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace as a file, for `nsenter --net=`.
    pub fn netns_path(&self) -> PathBuf {
        format!("/proc/{}/task/{}/ns/net", std::process::id(), self.thread_id).into()
    }

    /// Runs `work` on the host and waits for it. Sockets that it opens stay on the host, whoever
    /// uses them later.
    ///
    /// # Panics
    /// When `work` does; the host lives on.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job: Job = Box::new(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        match result.recv() {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => unreachable!("the thread of host {} is gone (job sent: {sent})", self.name),
        }
    }

    /// A command that will run on the host.
    pub fn command(&self, program: impl Into<std::ffi::OsString>) -> HostCommand<'_> {
        HostCommand::new(self, program.into())
    }

    /// Runs a script with `sh -eu` and returns what it printed.
    ///
    /// # Errors
    /// When it fails; with its standard error.
    pub fn sh(&self, script: &str) -> Result<String, LabError> {
        let output = self.command("sh").args(["-euc", script]).stderr(Stdio::piped()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LabError::Script {
            host: self.name.clone(),
            script: script.to_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn up(&self, interface: &str) -> Result<(), LabError> {
        self.sh(&format!("ip link set {interface} up")).map(drop)
    }

    /// Gives an interface an address with its prefix length: `10.0.0.1/24`.
    ///
    /// # Errors
    /// When either is not right.
    pub fn address(&self, interface: &str, address: &str) -> Result<(), LabError> {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.sh(&format!("ip address add {address} dev {interface} {nodad}")).map(drop)
    }

    /// Adds a route: to `default` or a prefix, by a neighbour.
    ///
    /// # Errors
    /// When the neighbour is not on any link.
    pub fn route(&self, to: &str, via: IpAddr) -> Result<(), LabError> {
        let version = if via.is_ipv6() { "-6" } else { "-4" };
        self.sh(&format!("ip {version} route add {to} via {via}")).map(drop)
    }

    /// Sets a key below /proc/sys of the host's own network.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        let (path, value) = (format!("/proc/sys/{key}"), value.to_owned());
        self.run(move || fs::write(path, value))
            .map_err(|cause| error(&self.name, "setting a sysctl", cause))
    }

    /// Makes it a router of both families.
    ///
    /// # Errors
    /// As [`Host::sysctl`].
    pub fn enable_forwarding(&self) -> Result<(), LabError> {
        self.sysctl("net/ipv4/ip_forward", "1")?;
        self.sysctl("net/ipv6/conf/all/forwarding", "1")
    }

    /// Writes the host's own /etc/resolv.conf.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn resolv_conf(&self, servers: &[IpAddr]) -> Result<(), LabError> {
        let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        self.run(move || fs::write("/etc/resolv.conf", text))
            .map_err(|cause| error(&self.name, "writing /etc/resolv.conf", cause))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Joins two hosts by a pair of virtual Ethernet interfaces, both up and ready to carry.
///
/// # Errors
/// When a name is taken.
pub fn link(one: (&Host, &str), other: (&Host, &str)) -> Result<(), LabError> {
    // `netns PID` of ip takes the id of any task, and a thread is one.
    let peer = other.0.thread_id;
    one.0.sh(&format!("ip link add {} type veth peer name {} netns {peer}", one.1, other.1))?;
    one.0.up(one.1)?;
    other.0.up(other.1)?;
    carries(one)
}

/// Waits until the interface carries that was up before its peer: the kernel looks after it when it has
/// time, and drops what is sent there before.
fn carries((host, interface): (&Host, &str)) -> Result<(), LabError> {
    let state = format!("/sys/class/net/{interface}/operstate");
    let deadline = Instant::now() + PATIENCE;
    host.run(move || {
        while fs::read_to_string(&state).map_or(true, |state| state.trim() != "up") {
            if Instant::now() > deadline {
                return Err(LabError::NotReady { what: "a link", patience: PATIENCE });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })
}

/// Gives the calling thread namespaces of its own; its thread id.
fn isolate(name: &str) -> Result<u32, LabError> {
    let failed = |operation| move |cause: rustix::io::Errno| error(name, operation, cause.into());
    let namespaces = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS;
    // SAFETY: none of these flags touches file descriptors; the thread shares nothing else anew.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(failed("making namespaces"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|cause| match cause {
        // Without this, what we mount might be seen outside.
        rustix::io::Errno::INVAL => failed(
            "making its mounts private: the root is no mount point, as in a plain chroot; \
             bind it onto itself first (mount --bind DIR DIR)",
        )(cause),
        _ => failed("making its mounts private")(cause),
    })?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let no_resolv_conf = |cause| error(name, "giving it an /etc/resolv.conf", cause);
    // Before /run, where it may lead to, is hidden.
    let target = resolv_conf_target().map_err(no_resolv_conf)?;
    mount("tmpfs", "/run", "tmpfs", flags, c"mode=0755").map_err(failed("mounting /run"))?;
    mount("sysfs", "/sys", "sysfs", flags | MountFlags::NOEXEC, None)
        .map_err(failed("mounting /sys"))?;
    own_resolv_conf(&target).map_err(no_resolv_conf)?;
    rustix::system::sethostname(name.as_bytes()).map_err(failed("naming it"))?;
    Ok(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs())
}

/// Where /etc/resolv.conf leads to, all links followed. A link into /run may dangle; of others the
/// end must exist, for a file can be laid over an existing one alone, and to make one would change
/// the machine.
fn resolv_conf_target() -> io::Result<PathBuf> {
    fs::canonicalize(RESOLV_CONF).or_else(|cause| {
        let link = fs::read_link(RESOLV_CONF).map_err(|_| missing(&cause))?;
        // `../run/...` is how systemd-resolved writes it.
        let target = Path::new("/").join(link.strip_prefix("..").unwrap_or(&link));
        if target.starts_with("/run") { Ok(target) } else { Err(missing(&cause)) }
    })
}

fn missing(cause: &io::Error) -> io::Error {
    let text = format!("there is none to lay the host's own over; make an empty one ({cause})");
    io::Error::new(cause.kind(), text)
}

/// Gives the host an empty file in place of `target`. Below /run, which is private by now, it is
/// made there; elsewhere a file of the private /run is laid over it: nothing real is written.
fn own_resolv_conf(target: &Path) -> io::Result<()> {
    if target.starts_with("/run") {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        return fs::write(target, "");
    }
    fs::write("/run/resolv.conf", "")?;
    Ok(mount_bind("/run/resolv.conf", target)?)
}

fn error(host: &str, operation: &'static str, cause: io::Error) -> LabError {
    LabError::Host { host: host.to_owned(), operation, cause }
}
