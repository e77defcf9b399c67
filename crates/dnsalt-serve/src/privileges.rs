//! What the server gives up once its sockets are open.
//!
//! | step | what stays | where |
//! |---|---|---|
//! | user | the one named, `nobody` as a rule; no groups | if it was started by root |
//! | capabilities | none, and none to be had again | everywhere |
//! | landlock | no file, no new TCP port, no connection | Linux 5.13; ports 6.7 |
//! | seccomp | the system calls that serving takes; all others answer EPERM | `x86_64`, `aarch64` |

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;

use caps::{CapSet, CapsHashSet};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetStatus,
};
use rustix::process::{Gid, Uid};

/// A user without rights, as every system has one.
const NOBODY: u32 = 65534;

/// Who the server runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl Default for User {
    fn default() -> Self {
        User { uid: NOBODY, gid: NOBODY }
    }
}

impl FromStr for User {
    type Err = String;

    /// A name of /etc/passwd, or the numbers `UID:GID`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((uid, gid)) = text.split_once(':')
            && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
        {
            return User { uid, gid }.unless_root(text);
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let of_line = |line: &str| {
            let mut fields = line.split(':');
            let known = fields.next() == Some(text);
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            known.then_some(User { uid, gid })
        };
        match users.lines().find_map(of_line) {
            Some(user) => user.unless_root(text),
            None => Err(format!("/etc/passwd has no user {text}; give a name of it, or UID:GID")),
        }
    }
}

impl User {
    fn unless_root(self, text: &str) -> Result<Self, String> {
        if self.uid == 0 {
            return Err(format!("{text} is root, who keeps too many rights; take another user"));
        }
        Ok(self)
    }
}

/// What was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// How far landlock is enforced.
    pub landlock: &'static str,
    /// The same of seccomp.
    pub seccomp: &'static str,
}

/// Gives up everything, for the calling thread and those that it starts.
pub(crate) fn drop_all(user: User) -> io::Result<Dropped> {
    change_user(user)?;
    drop_capabilities().map_err(io::Error::other)?;
    let landlock = restrict_files().map_err(io::Error::other)?;
    let seccomp = restrict_calls().map_err(io::Error::other)?;
    Ok(Dropped { landlock, seccomp })
}

fn change_user(user: User) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // Leaving the bounding set needs SETPCAP, which goes with the user.
    for capability in caps::runtime::thread_all_supported() {
        caps::drop(None, CapSet::Bounding, capability).map_err(io::Error::other)?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

fn drop_capabilities() -> Result<(), caps::errors::CapsError> {
    let none = CapsHashSet::new();
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &none)?;
    caps::set(None, CapSet::Permitted, &none)
}

/// Whether the kernel enforces it, in words.
fn restrict_files() -> Result<&'static str, landlock::RulesetError> {
    // Nothing is allowed: what was opened stays open.
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V5))?
        .create()?;
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    })
}

/// System calls that serving takes: sockets that are open, time, memory, threads.
fn allowed() -> Vec<libc::c_long> {
    vec![
        libc::SYS_accept4,
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_close,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_fcntl,
        libc::SYS_futex,
        libc::SYS_geteuid,
        libc::SYS_getpeername,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_getsockname,
        libc::SYS_getsockopt,
        libc::SYS_gettid,
        libc::SYS_gettimeofday,
        libc::SYS_ioctl,
        libc::SYS_lseek,
        libc::SYS_madvise,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_ppoll,
        libc::SYS_prctl,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_recvmmsg,
        libc::SYS_recvmsg,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_sendmmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_set_robust_list,
        libc::SYS_setsockopt,
        libc::SYS_shutdown,
        libc::SYS_socketpair,
        libc::SYS_sigaltstack,
        libc::SYS_tgkill,
        libc::SYS_write,
        libc::SYS_writev,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
    ]
}

fn restrict_calls() -> Result<&'static str, Box<dyn std::error::Error + Send + Sync>> {
    let Ok(arch) = seccompiler::TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok("none");
    };
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
        allowed().into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = seccompiler::SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let allow = seccompiler::SeccompAction::Allow;
    let filter = seccompiler::SeccompFilter::new(rules, refuse, allow, arch)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok("full")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_names_or_numbers_and_never_root() {
        assert_eq!("1000:1001".parse(), Ok(User { uid: 1000, gid: 1001 }));
        for root in ["root", "0:5"] {
            assert!(root.parse::<User>().unwrap_err().contains("is root"));
        }
        assert!("no such user".parse::<User>().unwrap_err().contains("no user no such user"));
    }

    /// In a thread of its own, that ends with what it has lost.
    #[test]
    fn what_is_given_up_is_gone() {
        let lost = std::thread::spawn(|| {
            let dropped = drop_all(User::default()).unwrap();
            let kind = |result: io::Result<()>| result.map_err(|error| error.raw_os_error());
            let read = kind(std::fs::read("/etc/hostname").map(drop));
            let run = kind(std::process::Command::new("/bin/true").spawn().map(drop));
            let socket = kind(std::net::UdpSocket::bind("127.0.0.1:0").map(drop));
            (dropped, rustix::process::geteuid().is_root(), [read, run, socket])
        });
        let (dropped, root, calls) = lost.join().unwrap();
        assert!(!root && dropped.seccomp == "full", "{dropped:?}");
        let refused = Err(Some(libc::EPERM));
        assert!(
            calls.iter().all(|call| *call == refused || *call == Err(Some(libc::EACCES))),
            "{calls:?}"
        );
    }
}
