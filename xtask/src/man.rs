//! The man pages: `dnsalt.1`, and one for each verb, such as `dnsalt-up.1`, `dnsalt-lab-recipe.1`.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Writes them into `dir`.
pub(crate) fn write(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(dnsalt::cli::command(), dir))
        .with_context(|| format!("the man pages could not be written to {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_its_page() {
        let dir = std::env::temp_dir().join(format!("dnsalt-man-{}", std::process::id()));
        write(&dir).unwrap();
        let page = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        assert!(page("dnsalt.1").contains(".TH dnsalt 1"));
        for verb in dnsalt::cli::command().get_subcommands() {
            let name = format!("dnsalt-{}.1", verb.get_name());
            assert_eq!(dir.join(&name).exists(), !verb.is_hide_set(), "{name}");
        }
        assert!(page("dnsalt-lab-recipe.1").contains(".SH SYNOPSIS"));
        fs::remove_dir_all(dir).unwrap();
    }
}
