//! The network interfaces of the network namespace that we run in.

use dnsalt_policy::InterfaceName;

/// The names, as the kernel lists them. Not from /sys, which may show another namespace.
fn names() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    text.lines().skip(2).filter_map(name).collect()
}

/// Whether all of these are there; else what to say.
pub(crate) fn all_exist(wanted: &[InterfaceName]) -> Result<(), String> {
    let names = names();
    match wanted.iter().find(|wanted| !names.iter().any(|name| name == wanted.as_str())) {
        None => Ok(()),
        Some(missing) => Err(format!(
            "--iface: there is no interface `{missing}` here; there are {}",
            names.join(", ")
        )),
    }
}
