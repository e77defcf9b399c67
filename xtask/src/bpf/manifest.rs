//! What the committed object was built from, and with what.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::build::FLAGS;

/// What goes in: files, and folders with all that is in them.
const SOURCES: [&str; 5] = [
    "crates/dnsalt-ebpf/Cargo.toml",
    "crates/dnsalt-ebpf/Cargo.lock",
    "crates/dnsalt-ebpf/src",
    "crates/dnsalt-salt/Cargo.toml",
    "crates/dnsalt-salt/src",
];

/// The file `manifest.toml`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// [`sources`] when it was built.
    pub(super) sources: String,
    /// The [`digest`] of the object.
    pub(super) object: String,
    /// With what.
    pub(super) tools: Tools,
}

/// The tools, by what they say of themselves.
#[derive(Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Tools {
    pub(super) rustc: String,
    pub(super) bpf_linker: String,
    pub(super) aya_ebpf: String,
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, aya-ebpf {}", self.rustc, self.bpf_linker, self.aya_ebpf)
    }
}

impl Manifest {
    /// Reads it.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        fs::read_to_string(path)
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(toml::from_str(&text)?))
            .with_context(|| format!("{} could not be read; `./x bpf` writes it", path.display()))
    }

    /// As it is written.
    pub(super) fn text(&self) -> String {
        let fields = toml::to_string(self).expect("texts only");
        format!("# What salt.o was built from, and with what. Written by `./x bpf`.\n{fields}")
    }
}

/// SHA-256, in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of all sources below `root`, with their names, and of the flags.
pub(super) fn sources(root: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        list(root, Path::new(source), &mut files)?;
    }
    files.sort();
    let mut all = format!("{FLAGS:?}\n");
    for file in files {
        let content = fs::read(root.join(&file))
            .with_context(|| format!("{} could not be read", file.display()))?;
        all += &format!("{} {}\n", digest(&content), file.display());
    }
    Ok(digest(all.as_bytes()))
}

fn list(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || format!("{} could not be read", path.display());
    let kind = fs::symlink_metadata(root.join(path)).with_context(context)?.file_type();
    if kind.is_file() {
        // What editors leave behind goes into nothing.
        if path.extension().is_some_and(|end| end == "rs" || end == "toml" || end == "lock") {
            files.push(path.to_owned());
        }
    } else if kind.is_dir() {
        for entry in fs::read_dir(root.join(path)).with_context(context)? {
            list(root, &path.join(entry.with_context(context)?.file_name()), files)?;
        }
    } else {
        bail!("{} is neither a file nor a folder", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_source_changes_the_digest() {
        let root = tempfile::tempdir().unwrap();
        for source in SOURCES {
            let path = root.path().join(source);
            let is_file = path.extension().is_some();
            fs::create_dir_all(if is_file { path.parent().unwrap() } else { &path }).unwrap();
            let file = if is_file { path } else { path.join("lib.rs") };
            fs::write(file, source).unwrap();
        }
        let before = sources(root.path()).unwrap();
        assert_eq!(sources(root.path()).unwrap(), before);
        let module = root.path().join("crates/dnsalt-salt/src/dns");
        fs::create_dir(&module).unwrap();
        fs::write(module.join("name.rs"), "").unwrap();
        let more = sources(root.path()).unwrap();
        assert_ne!(more, before);
        fs::write(module.join("name.rs.orig"), "").unwrap();
        assert_eq!(sources(root.path()).unwrap(), more);
        fs::rename(module.join("name.rs"), module.join("names.rs")).unwrap();
        assert_ne!(sources(root.path()).unwrap(), more);
        fs::remove_file(root.path().join(SOURCES[1])).unwrap();
        assert!(sources(root.path()).unwrap_err().to_string().contains("Cargo.lock"));
    }

    #[test]
    fn what_is_written_is_read() {
        let tools = Tools { rustc: "1".into(), bpf_linker: "2".into(), aya_ebpf: "3".into() };
        let manifest = Manifest { sources: "a".into(), object: "b".into(), tools };
        let read: Manifest = toml::from_str(&manifest.text()).unwrap();
        assert_eq!(
            (read.sources, read.object, read.tools),
            ("a".into(), "b".into(), manifest.tools)
        );
    }
}
