//! What the project is built of: licences that go with its own, from crates.io alone, and nothing that is known to
//! have been given up.

use std::process::Command;

use serde_json::Value;

/// Licences that go with MIT and Apache-2.0.
const LICENCES: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Given up by their authors, as the database of advisories says, and met often.
const GIVEN_UP: [&str; 18] = [
    "ansi_term",
    "atty",
    "backoff",
    "bincode",
    "derivative",
    "failure",
    "fxhash",
    "instant",
    "mach",
    "net2",
    "number_prefix",
    "paste",
    "proc-macro-error",
    "rustls-pemfile",
    "serde_yaml",
    "structopt",
    "tempdir",
    "yaml-rust",
];

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["metadata", "--locked", "--format-version", "1"];
    let output = Command::new(cargo).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// One of the licences of each part that has to be met.
fn goes_with_ours(licence: &str) -> bool {
    let fine = |one: &str| {
        let one = one.trim_matches(['(', ')', ' ']).split(" WITH ").next().unwrap_or_default();
        LICENCES.contains(&one)
    };
    licence.split(" AND ").all(|part| part.replace('/', " OR ").split(" OR ").any(fine))
}

#[test]
fn licences_sources_and_names() {
    let packages = packages();
    assert!(packages.len() > 100);
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(goes_with_ours(licence), "{name}: {licence}");
        let source = package["source"].as_str();
        let from = ["registry+https://github.com/rust-lang/crates.io-index"];
        assert!(source.is_none_or(|source| from.contains(&source)), "{name}: {source:?}");
        assert!(!GIVEN_UP.contains(&name), "{name} has no author any more");
    }
}

#[test]
fn licences_are_told_apart() {
    for fine in ["MIT", "MIT OR GPL-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "Apache-2.0 / MIT"]
    {
        assert!(goes_with_ours(fine), "{fine}");
    }
    for wrong in ["", "GPL-3.0", "MIT AND GPL-3.0", "AGPL-3.0 OR SSPL-1.0"] {
        assert!(!goes_with_ours(wrong), "{wrong}");
    }
}
