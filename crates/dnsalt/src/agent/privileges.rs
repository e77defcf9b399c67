//! What the agent gives up once it runs, for itself and for whatever it starts (nft, iptables).
//!
//! | step | what stays | where |
//! |---|---|---|
//! | capabilities | `NET_ADMIN`, `NET_RAW`, `BPF`, `PERFMON`; all others leave the bounding set as well | everywhere |
//! | landlock | reading the system; writing its own state, the bpffs, the lock of iptables | Linux 5.13 |
//! | seccomp | system calls that change the system answer EPERM | `x86_64`, `aarch64` |
//!
//! `NET_RAW` stays for iptables, which opens raw sockets to talk to the kernel.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};

use super::{Keeper, Options};

const KEPT: [Capability; 4] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
];

/// The lock that all of iptables-legacy share.
const XTABLES_LOCK: &str = "/run/xtables.lock";

/// Steps 5 and 6.
pub(super) fn drop_all(keeper: &Keeper, options: &Options) -> anyhow::Result<()> {
    drop_capabilities().context("dropping capabilities")?;
    let landlock = restrict_files(keeper, options).context("landlock")?;
    let seccomp = restrict_calls().context("seccomp")?;
    tracing::info!(landlock, seccomp, "privileges dropped");
    Ok(())
}

fn drop_capabilities() -> anyhow::Result<()> {
    let kept: CapsHashSet = KEPT.into_iter().collect();
    let have = caps::read(None, CapSet::Permitted)?;
    // The bounding set first: leaving it needs SETPCAP.
    if have.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::runtime::thread_all_supported().difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    let kept = kept.intersection(&have).copied().collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(())
}

/// Whether the kernel enforces it, in words.
fn restrict_files(keeper: &Keeper, options: &Options) -> anyhow::Result<&'static str> {
    let abi = ABI::V5;
    let read = AccessFs::from_read(abi);
    let all = AccessFs::from_all(abi);
    // iptables makes it when it is not there; it cannot then.
    let _ = std::fs::OpenOptions::new().create(true).append(true).open(XTABLES_LOCK);
    let mut rules: Vec<(PathBuf, _)> =
        ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/sys"]
            .map(|path| (PathBuf::from(path), read))
            .to_vec();
    rules.push((keeper.state_dir().to_owned(), all));
    rules.push((PathBuf::from("/dev/null"), all));
    // Its folder: editors put a new file in the place of the old one.
    rules.extend(keeper.config().map(|folder| (folder, read)));
    rules.push((PathBuf::from(XTABLES_LOCK), all));
    rules.extend(keeper.bpffs().map(|bpffs| (bpffs, all)));
    rules.extend(options.forged.iter().map(|forged| (forged.folder(), all)));
    rules.extend(options.alert.iter().map(|alert| (alert.program.clone(), read)));
    rules.extend(std::env::current_exe().ok().map(|program| (program, read)));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?;
    for (path, access) in rules {
        ruleset = allow(ruleset, &path, access)?;
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    })
}

fn allow(
    ruleset: landlock::RulesetCreated,
    path: &Path,
    access: landlock::BitFlags<AccessFs>,
) -> anyhow::Result<landlock::RulesetCreated> {
    let fd = match PathFd::new(path) {
        Ok(fd) => fd,
        // What is not there need not be allowed.
        Err(PathFdError::OpenCall { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(ruleset);
        }
        Err(error) => return Err(error.into()),
    };
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
    let access = if kind.is_dir() { access } else { access & AccessFs::from_file(ABI::V5) };
    Ok(ruleset.add_rule(PathBeneath::new(fd, access))?)
}

/// System calls that neither the agent nor nft nor iptables need, and an intruder would like.
fn refused() -> Vec<libc::c_long> {
    vec![
        libc::SYS_acct,
        libc::SYS_add_key,
        libc::SYS_chroot,
        libc::SYS_clock_settime,
        libc::SYS_delete_module,
        libc::SYS_finit_module,
        libc::SYS_init_module,
        libc::SYS_kexec_file_load,
        libc::SYS_kexec_load,
        libc::SYS_keyctl,
        libc::SYS_mount,
        libc::SYS_move_mount,
        libc::SYS_open_by_handle_at,
        libc::SYS_open_tree,
        libc::SYS_perf_event_open,
        libc::SYS_personality,
        libc::SYS_pivot_root,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_ptrace,
        libc::SYS_quotactl,
        libc::SYS_reboot,
        libc::SYS_request_key,
        libc::SYS_setdomainname,
        libc::SYS_sethostname,
        libc::SYS_setns,
        libc::SYS_settimeofday,
        libc::SYS_swapoff,
        libc::SYS_swapon,
        libc::SYS_umount2,
        libc::SYS_unshare,
        libc::SYS_userfaultfd,
    ]
}

fn restrict_calls() -> anyhow::Result<&'static str> {
    let Ok(arch) = seccompiler::TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok("none");
    };
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
        refused().into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = seccompiler::SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter =
        seccompiler::SeccompFilter::new(rules, seccompiler::SeccompAction::Allow, refuse, arch)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok("full")
}
