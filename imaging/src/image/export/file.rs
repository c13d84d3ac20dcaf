//! A file that gets its name when it is complete.

use crate::error::{Error, Result};
use crate::own_file::OwnFile;
use klon_partition::Shown;
use klon_partition::device::{Target, open_target};
use klon_partition::error::Remedy;
use klon_partition::{Error as PartitionError, WriteAt};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A file that gets its name when it is complete. When it is dropped before, nothing is left.
pub struct NewFile {
    own: OwnFile,
    target: Target,
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
        let own = OwnFile::create(path).map_err(failed(path, "create"))?;
        let sized = own.file().set_len(size_bytes);
        sized.map_err(failed(path, "make a file of the wanted size"))?;
        let target = open_target(&own.again()).map_err(Error::Target)?;
        Ok(Self {
            own,
            target,
            path: path.to_owned(),
            replaces,
        })
    }

    /// Writes bytes at a position.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> Result<()> {
        self.target
            .write_all_at(bytes, offset_bytes)
            .map_err(Error::Target)
    }

    /// The error of doing something for this file.
    pub(super) fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> Error + use<> {
        failed(&self.path, doing)
    }

    /// Cuts the file, makes it durable, and gives it its name.
    ///
    /// # Errors
    /// [`Error::Target`]: what was at the path is as it was.
    pub fn into_place(self, size_bytes: u64) -> Result<()> {
        self.target.sync().map_err(Error::Target)?;
        drop(self.target);
        let file = self.own.file();
        let sized = file.set_len(size_bytes).and_then(|()| file.sync_all());
        sized.map_err(failed(&self.path, "make it durable"))?;
        match self.own.into_place(self.replaces) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists(&self.path)),
            placed => placed.map_err(failed(&self.path, "give the whole file its name")),
        }
    }
}

fn failed(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| {
        Error::Target(PartitionError::Open {
            path: path.clone(),
            doing,
            source,
        })
    }
}

fn exists(path: &Path) -> Error {
    Error::RefusedUnless {
        reason: format!(
            "{} exists already, and nothing of it was changed; name another file, or replace it",
            path.shown()
        ),
        remedy: Remedy::ReplaceFile,
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
        file.into_place(5).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert!(begin(false).is_err());
        let second = begin(true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        second.into_place(3).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [0; 3]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_came_up_meanwhile_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let file = NewFile::create(&path, 1, false).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(file.into_place(1).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
