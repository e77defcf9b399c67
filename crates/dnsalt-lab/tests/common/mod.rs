//! What every test of the lab does first.

/// Whether the lab can run here; prints why if not.
pub(crate) fn can_run() -> bool {
    let needed = dnsalt_lab::require_root().and_then(|()| dnsalt_lab::require(&["ip"]));
    needed.inspect_err(|why| println!("skipped: {why}")).is_ok()
}
