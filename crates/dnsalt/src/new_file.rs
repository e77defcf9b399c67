//! Files that appear whole or not at all: written under another name, and renamed at the end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    /// What it is called until it is finished; none for what is no plain file, such as `/dev/null` or
    /// a pipe, which is written as it is and never replaced.
    part: Option<PathBuf>,
    pub(crate) file: File,
}

impl NewFile {
    /// Begins one: whether it can be written is known before the work for it is done.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(path)?;
            return Ok(NewFile { path: path.to_owned(), part: None, file });
        }
        Self::part(path, "")
    }

    /// Begins one that whoever lists the folder passes over until it is finished.
    #[cfg(feature = "fleet")]
    pub(crate) fn hidden(path: &Path) -> io::Result<Self> {
        Self::part(path, ".")
    }

    fn part(path: &Path, before: &str) -> io::Result<Self> {
        let mut name = OsString::from(before);
        name.push(path.file_name().unwrap_or_default());
        name.push(".part");
        let part = path.with_file_name(name);
        let file = File::create(&part)?;
        Ok(NewFile { path: path.to_owned(), part: Some(part), file })
    }

    /// What it will be called.
    #[cfg(feature = "fleet")]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        self.file.sync_all()?;
        fs::rename(part, &self.path)
    }
}

impl Drop for NewFile {
    /// What was not finished goes; a finished one has no part any more.
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = fs::remove_file(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn it_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        fs::write(&path, "old").unwrap();
        let mut unfinished = NewFile::begin(&path).unwrap();
        unfinished.file.write_all(b"half").unwrap();
        drop(unfinished);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut new = NewFile::begin(&path).unwrap();
        new.file.write_all(b"new").unwrap();
        new.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(NewFile::begin(&folder.path().join("none/report.html")).is_err());
        assert!(NewFile::begin(folder.path()).is_err());
    }

    #[test]
    fn what_is_no_plain_file_stays_what_it_is() {
        let null = Path::new("/dev/null");
        let new = NewFile::begin(null).unwrap();
        assert!(new.part.is_none());
        new.finish().unwrap();
        assert!(!fs::metadata(null).unwrap().is_file());
    }
}
