//! Every target for a moment: seeds, what was once wrong, and both with bytes changed.

use std::fs;
use std::path::Path;

use dnsalt_fuzz::TARGETS;

/// Changed copies of each file.
const COPIES: usize = 300;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % n.max(1)
    }

    fn changed(&mut self, file: &[u8]) -> Vec<u8> {
        let mut bytes = file.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
                2 => {
                    let end = at + self.below(bytes.len() - at + 1);
                    bytes.extend_from_within(at..end);
                }
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}

#[test]
fn nothing_is_found_in_a_moment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut random = Random(42);
    for (name, target) in TARGETS {
        let mut files = 0;
        for folder in ["seeds", "regressions"] {
            let Ok(entries) = fs::read_dir(root.join(folder).join(name)) else { continue };
            let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            for path in paths {
                let file = fs::read(&path).unwrap();
                println!("{}", path.display());
                target(&file);
                for _ in 0..COPIES {
                    target(&random.changed(&file));
                }
                files += 1;
            }
        }
        assert!(files > 0, "no seeds for {name}");
    }
}

#[test]
fn every_target_is_a_program() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let named: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .skip(1)
        .collect();
    assert_eq!(named, TARGETS.map(|(name, _)| name));
}
