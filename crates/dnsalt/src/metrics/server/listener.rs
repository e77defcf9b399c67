//! Sockets that are listened on.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::address::{Address, NEW};
use super::connection::Stream;

/// Whoever is in the group may read: metrics are no secret to those who watch the machine.
const MODE: u32 = 0o660;

/// One of them.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A socket in the file system, which goes with it.
#[derive(Debug)]
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// The folder that it is in, if that was not there.
    folder: Option<PathBuf>,
}

impl Listener {
    /// None for [`Address::None`].
    pub(super) fn bind(address: &Address) -> io::Result<Option<Self>> {
        let listener = match address {
            Address::None => return Ok(None),
            Address::Tcp(address) => Listener::Tcp(TcpListener::bind(address)?),
            Address::Unix(path) => Listener::Unix(UnixSocket::bind(path)?),
        };
        // Who went away between being announced and being let in must not be waited for.
        match &listener {
            Listener::Tcp(listener) => listener.set_nonblocking(true)?,
            Listener::Unix(socket) => socket.listener.set_nonblocking(true)?,
        }
        Ok(Some(listener))
    }

    /// Where it listens: with the port that the system chose, if it was to.
    #[cfg(test)]
    pub(super) fn address(&self) -> io::Result<Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Listener::Unix(socket) => Ok(Address::Unix(socket.path.clone())),
        }
    }

    pub(super) fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Listener::Unix(socket) => {
                socket.listener.accept().map(|(stream, _)| Stream::Unix(stream))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(socket) => socket.listener.as_fd(),
        }
    }
}

impl UnixSocket {
    fn bind(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.exists());
        if let Some(folder) = folder {
            DirBuilder::new().mode(0o755).create(folder)?;
        }
        let folder = folder.map(Path::to_owned);
        let bound = Self::bind_in(path, folder.clone());
        if let (Err(_), Some(folder)) = (&bound, folder) {
            let _ = fs::remove_dir(folder);
        }
        bound
    }

    /// Appears under its name when it has its mode, in place of one that nobody listens on any more.
    fn bind_in(path: &Path, folder: Option<PathBuf>) -> io::Result<Self> {
        make_way(path)?;
        let mut new = path.as_os_str().to_owned();
        new.push(NEW);
        let new = PathBuf::from(new);
        make_way(&new)?;
        let listener = UnixListener::bind(&new)?;
        let put = || {
            fs::set_permissions(&new, Permissions::from_mode(MODE))?;
            fs::rename(&new, path)?;
            fs::symlink_metadata(path)
        };
        match put() {
            Ok(there) => {
                let (path, inode) = (path.to_owned(), there.ino());
                Ok(UnixSocket { listener, path, inode, folder })
            }
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(error)
            }
        }
    }
}

/// Takes away what an agent left that was killed; nothing else.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(there) if !there.file_type().is_socket() => {
            Err(io::Error::new(ErrorKind::AlreadyExists, "there is something else of this name"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
        },
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Another agent may have taken the place.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
        if let Some(folder) = &self.folder {
            // Unless others have put something there.
            let _ = fs::remove_dir(folder);
        }
    }
}
