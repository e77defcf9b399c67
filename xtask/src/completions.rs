//! Completions of the command line, one file for each shell, named as the shell looks for it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap_complete::Shell;

/// The shells we write for.
const SHELLS: [Shell; 5] = [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell];

/// Writes `dnsalt.bash`, `_dnsalt`, `dnsalt.fish`, `dnsalt.elv` and `_dnsalt.ps1` into `dir`.
pub(crate) fn write(dir: &Path) -> anyhow::Result<()> {
    let failed = || format!("the completions could not be written to {}", dir.display());
    fs::create_dir_all(dir).with_context(failed)?;
    for shell in SHELLS {
        let mut command = dnsalt::cli::command();
        clap_complete::generate_to(shell, &mut command, "dnsalt", dir).with_context(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_knows_the_verbs() {
        let dir = std::env::temp_dir().join(format!("dnsalt-completions-{}", std::process::id()));
        write(&dir).unwrap();
        for name in ["dnsalt.bash", "_dnsalt", "dnsalt.fish", "dnsalt.elv", "_dnsalt.ps1"] {
            let text = fs::read_to_string(dir.join(name)).unwrap();
            assert!(text.contains("prove"), "{name}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
