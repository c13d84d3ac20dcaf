//! Where `klon serve` listens: on this machine, unless another address is meant to be open to all.

use crate::cli::ServeArgs;
use crate::error::{refused, usage};
use anyhow::{Context as _, Result};
use klon_imaging::serve::nbd::Listener;
use klon_partition::Shown;
use nix::sys::stat::{Mode, umask};
use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The port that is registered for NBD.
const DEFAULT: &str = "127.0.0.1:10809";

/// How long another klon may take to make a socket in the same directory.
const PATIENCE: Duration = Duration::from_secs(2);

/// A listener, and what it is called.
pub struct Bound {
    listener: Listener,
    name: Name,
}

enum Name {
    Tcp(SocketAddr),
    Unix(SocketFile),
}

/// A socket in the file system, removed when dropped.
pub struct SocketFile {
    path: PathBuf,
    inode: Option<u64>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Not one that another program has put there since.
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.file_type().is_socket().then_some(metadata.ino())
}

impl Bound {
    /// The address of an export.
    pub fn uri(&self, export: &str) -> String {
        match &self.name {
            Name::Tcp(address) if export.is_empty() => format!("nbd://{address}"),
            Name::Tcp(address) => format!("nbd://{address}/{export}"),
            Name::Unix(socket) => {
                let path = escape(socket.path.as_os_str().as_bytes());
                format!("nbd+unix:///{export}?socket={path}")
            }
        }
    }

    /// The listener, and what removes its socket.
    pub fn into_parts(self) -> (Listener, Option<SocketFile>) {
        let socket = match self.name {
            Name::Tcp(_) => None,
            Name::Unix(socket) => Some(socket),
        };
        (self.listener, socket)
    }
}

/// A path as part of a URI.
fn escape(path: &[u8]) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    path.iter().copied().map(escape).collect()
}

/// Listens where the arguments say.
///
/// # Errors
/// [`usage`] for an address that means nothing, [`refused`] for one that others reach and that wasn't
/// allowed; when the system refuses it.
pub fn bind(args: &ServeArgs) -> Result<Bound> {
    match &args.socket {
        Some(path) => bind_unix(path),
        None => bind_tcp(args.listen.as_deref().unwrap_or(DEFAULT), args.open_to_all),
    }
}

fn bind_tcp(text: &str, is_open_to_all: bool) -> Result<Bound> {
    let addresses: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(|error| {
            usage(format!(
                "--listen {text}: {error}. Give an address and a port, as in {DEFAULT}"
            ))
        })?
        .collect();
    let is_local = addresses.iter().all(|address| address.ip().is_loopback());
    if !is_local && !is_open_to_all {
        return Err(refused(format!(
            "everyone who reaches {text} could read the image, because klon's NBD has neither \
             passwords nor encryption. Listen on {DEFAULT} (and let others in by ssh -L), or add \
             --open-to-all"
        )));
    }
    let listener =
        TcpListener::bind(&addresses[..]).with_context(|| format!("listening on {text}"))?;
    let address = listener.local_addr()?;
    Ok(Bound {
        listener: Listener::Tcp(listener),
        name: Name::Tcp(address),
    })
}

fn bind_unix(path: &Path) -> Result<Bound> {
    let shown = path.shown();
    // Of two at the same time, none removes the socket that the other has just made.
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new(".")));
    let directory = directory.with_context(|| shown.clone())?;
    let deadline = Instant::now() + PATIENCE;
    // Not every filesystem has locks, and none is worth waiting for long.
    while matches!(directory.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < deadline
    {
        sleep(Duration::from_millis(10));
    }
    if inode(path).is_some() {
        match UnixStream::connect(path) {
            // What ended without removing it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).with_context(|| shown.clone())?;
            }
            _ => return Err(refused(format!("{shown}: another program listens there"))),
        }
    } else if path.symlink_metadata().is_ok() {
        return Err(refused(format!("{shown} exists and is not a socket")));
    }
    // For its owner only, from its first moment on.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.with_context(|| format!("listening on {shown}"))?;
    let path = std::path::absolute(path)?;
    Ok(Bound {
        listener: Listener::Unix(listener),
        name: Name::Unix(SocketFile {
            inode: inode(&path),
            path,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::{bind_tcp, escape};
    use crate::error::code;

    #[test]
    fn only_this_machine_is_let_in_unasked() {
        for open in ["0.0.0.0:0", "[::]:0"] {
            let error = bind_tcp(open, false).err().unwrap();
            assert_eq!(code(&error), 3, "{error}");
        }
        assert_eq!(code(&bind_tcp("localhost", false).err().unwrap()), 2);
        let bound = bind_tcp("127.0.0.1:0", false).unwrap();
        assert!(bound.uri("2/p1").starts_with("nbd://127.0.0.1:"));
        assert!(bind_tcp("0.0.0.0:0", true).is_ok());
    }

    #[test]
    fn a_path_in_a_uri_is_escaped() {
        assert_eq!(escape("/run/a b&ä".as_bytes()), "/run/a%20b%26%C3%A4");
    }
}
