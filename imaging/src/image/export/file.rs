//! A file that gets its name when it is whole.

use crate::error::{Error, Result};
use klon_partition::Shown;
use klon_partition::device::{Target, create_target_file};
use klon_partition::{Error as PartitionError, WriteAt};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file that gets its name when it is whole; dropped before that, it is removed.
pub struct NewFile {
    target: Option<Target>,
    temporary: PathBuf,
    path: PathBuf,
    replaces: bool,
}

impl NewFile {
    /// Begins a file of `size_bytes` zeroes, all of it a hole. If there is a file at `path`, it is
    /// replaced in the end when `replaces`, and refused otherwise.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn create(path: &Path, size_bytes: u64, replaces: bool) -> Result<Self> {
        if !replaces && path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        // The file's own name may be as long as a name can be.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let temporary = path.with_file_name(format!(".klon.{process}.{count}.part"));
        let target = create_target_file(&temporary, size_bytes).map_err(Error::Target)?;
        Ok(Self {
            target: Some(target),
            temporary,
            path: path.to_owned(),
            replaces,
        })
    }

    /// Writes bytes at a position.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> Result<()> {
        let target = self.target.as_ref();
        let target = target.ok_or_else(|| Error::Internal("the file has its name".to_owned()))?;
        target
            .write_all_at(bytes, offset_bytes)
            .map_err(Error::Target)
    }

    /// Cuts the file, makes it durable, and gives it its name.
    ///
    /// # Errors
    /// [`Error::Target`]: what was at the path is as it was.
    pub fn finish(mut self, size_bytes: u64) -> Result<()> {
        if let Some(target) = self.target.take() {
            target.sync().map_err(Error::Target)?;
        }
        let open = |doing| {
            let path = self.path.clone();
            move |source| {
                Error::Target(PartitionError::Open {
                    path,
                    doing,
                    source,
                })
            }
        };
        let file = File::options().write(true).open(&self.temporary);
        let sized = file.and_then(|file| {
            file.set_len(size_bytes)?;
            file.sync_all()
        });
        sized.map_err(open("make it durable"))?;
        self.rename()?;
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(open("make its name durable"))
    }

    fn rename(&self) -> Result<()> {
        let failed = |source: io::Error| {
            Error::Target(PartitionError::Open {
                path: self.path.clone(),
                doing: "give the whole file its name",
                source,
            })
        };
        if self.replaces {
            return fs::rename(&self.temporary, &self.path).map_err(failed);
        }
        let flags = RenameFlags::RENAME_NOREPLACE;
        match renameat2(AT_FDCWD, &self.temporary, AT_FDCWD, &self.path, flags) {
            Ok(()) => Ok(()),
            Err(nix::Error::EEXIST) => Err(exists(&self.path)),
            // A filesystem that can't do it in one step.
            Err(nix::Error::EINVAL | nix::Error::ENOSYS) if !self.path.exists() => {
                fs::rename(&self.temporary, &self.path).map_err(failed)
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

fn exists(path: &Path) -> Error {
    Error::Refused(format!(
        "{} exists already, and nothing of it was changed; name another file, or replace it with \
         --force",
        path.shown()
    ))
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After it has its name there is nothing at the temporary one.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::NewFile;
    use std::fs;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let begin = |replaces| NewFile::create(&path, 4096, replaces);
        drop(begin(false).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let file = begin(false).unwrap();
        file.write_at(b"whole", 0).unwrap();
        assert!(!path.exists());
        file.finish(5).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert!(begin(false).is_err());
        let second = begin(true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        second.finish(3).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [0; 3]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_came_up_meanwhile_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let file = NewFile::create(&path, 1, false).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(file.finish(1).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
