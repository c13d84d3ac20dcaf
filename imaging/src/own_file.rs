//! A file of klon's own, which has no name until it is whole: nobody can take it for something, put
//! something else in its place, or have to remove it after a run that was killed.

use crate::durable::{directory_of, sync_name};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::{EINVAL, EISDIR, EOPNOTSUPP, O_TMPFILE};
use nix::unistd::linkat;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempPath};

/// How names begin that files have for a moment, or where a filesystem has no files without names.
const PREFIX: &str = ".klon-";
/// As other new files; the user's mask is taken off.
const MODE: u32 = 0o666;

/// A new file that gets its name when it is whole; dropped before that, nothing of it is left.
#[derive(Debug)]
pub struct OwnFile {
    file: File,
    /// Where the filesystem has no files without names (open(2), `O_TMPFILE`).
    name: Option<TempPath>,
    path: PathBuf,
}

impl OwnFile {
    /// Begins an empty file, which is to be at `path`.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(MODE)
            .custom_flags(O_TMPFILE)
            .open(directory_of(path));
        match opened {
            Ok(file) if fs::symlink_metadata(descriptor(&file)).is_ok() => Ok(Self {
                file,
                name: None,
                path: path.to_owned(),
            }),
            Err(error) if !is_unknown(&error) => Err(error),
            _ => Self::named(path),
        }
    }

    /// The same where it must have a name, which nobody else has.
    fn named(path: &Path) -> io::Result<Self> {
        let named = Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(directory_of(path))?;
        let (file, name) = named.into_parts();
        Ok(Self {
            file,
            name: Some(name),
            path: path.to_owned(),
        })
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// By which it can be opened once more, as long as it is open here.
    #[must_use]
    pub fn again(&self) -> PathBuf {
        descriptor(&self.file)
    }

    /// Gives it its name, durably. What is at the path is replaced when `replaces`; otherwise the
    /// name must be free.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], with what is there as it was; what the system says.
    pub fn into_place(self, replaces: bool) -> io::Result<()> {
        let Self { file, name, path } = self;
        match (name, replaces) {
            (None, false) => link(&file, &path)?,
            (None, true) => {
                // Replacing takes a name to be renamed.
                let linked = Builder::new()
                    .prefix(PREFIX)
                    .make_in(directory_of(&path), |name| link(&file, name))?;
                linked.into_temp_path().persist(&path)?;
            }
            (Some(name), true) => name.persist(&path)?,
            (Some(name), false) => persist_new(name, &path)?,
        }
        sync_name(&path)
    }
}

/// Renames to a name that must be free.
fn persist_new(name: TempPath, path: &Path) -> io::Result<()> {
    let Err(failed) = name.persist_noclobber(path) else {
        return Ok(());
    };
    if failed.error.kind() == ErrorKind::AlreadyExists {
        return Err(failed.error);
    }
    // A filesystem that can do it neither in one step nor by a link: the name is taken first.
    drop(OpenOptions::new().write(true).create_new(true).open(path)?);
    failed.path.persist(path).map_err(|failed| {
        // Ours, and empty.
        let _ = fs::remove_file(path);
        failed.error
    })
}

/// The name of an open file (proc_pid_fd(5)): no link to a path, but the file itself.
fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    let flags = AtFlags::AT_SYMLINK_FOLLOW;
    linkat(AT_FDCWD, &descriptor(file), AT_FDCWD, path, flags).map_err(|error: Errno| error.into())
}

/// Whether a filesystem or kernel does not know files without names. Old kernels open the directory.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EOPNOTSUPP | EISDIR | EINVAL))
}

#[cfg(test)]
mod tests {
    use super::OwnFile;
    use std::fs;
    use std::io::{ErrorKind, Write as _};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn it_takes_a_free_name_or_replaces_and_leaves_nothing() {
        for begin in [OwnFile::create, OwnFile::named] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("name");
            drop(begin(&path).unwrap());
            assert_eq!(count(directory.path()), 0);
            let own = begin(&path).unwrap();
            own.file().write_all(b"first").unwrap();
            assert_eq!(fs::read(own.again()).unwrap(), b"first");
            own.into_place(false).unwrap();
            let error = begin(&path).unwrap().into_place(false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&path).unwrap(), b"first");
            let own = begin(&path).unwrap();
            own.file().write_all(b"second").unwrap();
            own.into_place(true).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"second");
            assert_eq!(count(directory.path()), 1);
        }
    }

    #[test]
    fn no_link_is_followed() {
        for begin in [OwnFile::create, OwnFile::named] {
            let directory = tempfile::tempdir().unwrap();
            let (path, other) = (
                directory.path().join("name"),
                directory.path().join("other"),
            );
            for content in [Some("precious"), None] {
                let _ = fs::remove_file(&other);
                if let Some(content) = content {
                    fs::write(&other, content).unwrap();
                }
                symlink(&other, &path).unwrap();
                begin(&path).unwrap().into_place(false).unwrap_err();
                begin(&path).unwrap().into_place(true).unwrap();
                assert!(path.symlink_metadata().unwrap().is_file());
                assert_eq!(fs::read_to_string(&other).ok().as_deref(), content);
                fs::remove_file(&path).unwrap();
            }
        }
    }
}
