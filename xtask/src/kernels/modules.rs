//! Modules of a kernel, in the order in which they can be loaded.
//!
//! A package has no `modules.dep`, which is made where it is installed; but each module names those
//! that it needs, in its section `.modinfo`: `depends=nf_tables,nf_nat`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::step::Step;

/// A module as the kernel takes it.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// Reads these and all that they need, each after what it needs. Those that are built in, or not
/// there, are left out: tests say what they miss.
pub(crate) fn in_order(folder: &Path, wanted: &[&str]) -> anyhow::Result<Vec<Module>> {
    let mut files = HashMap::new();
    find(&folder.join("kernel"), &mut files)?;
    let mut done = Vec::new();
    for name in wanted {
        add(&mut done, &files, name)?;
    }
    Ok(done)
}

fn add(done: &mut Vec<Module>, files: &HashMap<String, PathBuf>, name: &str) -> anyhow::Result<()> {
    if done.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let Some(file) = files.get(name) else { return Ok(()) };
    let content = read(file).with_context(|| file.display().to_string())?;
    for needed in depends(&content) {
        add(done, files, &needed)?;
    }
    done.push(Module { name: name.to_owned(), content });
    Ok(())
}

/// All below a folder, by their names as `lsmod` shows them.
fn find(folder: &Path, files: &mut HashMap<String, PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some((name, _)) =
            path.file_name().and_then(|name| name.to_str()?.split_once(".ko"))
        {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

/// Not packed, or no more.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return Ok(fs::read(file)?),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => bail!("packed in a way that is not known"),
    };
    Step::program(program, &["-dc", &file.to_string_lossy()]).output()
}

fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("kernel/net");
        fs::create_dir_all(&net).unwrap();
        for (file, depends) in
            [("nft-masq", "nf_tables,nf_nat"), ("nf_tables", ""), ("nf_nat", "nf_tables,built_in")]
        {
            let content = format!("\0license=GPL\0depends={depends}\0intree=Y\0");
            fs::write(net.join(format!("{file}.ko")), content).unwrap();
        }
        let modules = in_order(folder.path(), &["nf_nat", "nft_masq", "not_there"]).unwrap();
        let names: Vec<&str> = modules.iter().map(|module| &*module.name).collect();
        assert_eq!(names, ["nf_tables", "nf_nat", "nft_masq"]);
    }

    #[test]
    fn a_module_that_needs_none() {
        assert_eq!(depends(b"\0depends=\0name=veth\0"), [""; 0]);
        assert_eq!(depends(b"no module"), [""; 0]);
    }
}
