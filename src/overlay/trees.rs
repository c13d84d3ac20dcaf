//! Two trees of files, of which one was copied from the other.

use anyhow::{Context as _, Result};
use klon_partition::Shown as _;
use klon_partition::text::quoted;
use nix::errno::Errno;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags, lgetxattr, llistxattr, lremovexattr};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A tree, and where it was copied to.
pub(super) struct Copied<'a> {
    pub(super) from: &'a Path,
    pub(super) to: &'a Path,
}

impl Copied<'_> {
    /// Mends what the programs make of the copies: they keep whole seconds alone of times, and files that they make in a
    /// directory with a default ACL inherit one that their originals do not have.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn mend(&self) -> Result<()> {
        self.each(|path, original, _| {
            let (from, to) = (self.from.join(path), self.to.join(path));
            remove_inherited(&from, &to).with_context(|| to.shown())?;
            set_times(&to, original).with_context(|| to.shown())?;
            Ok(None)
        })?;
        Ok(())
    }

    /// The first file that is not the same, in words: names, kinds, modes, owners, sizes, times, links, where links lead
    /// to, and extended attributes.
    ///
    /// # Errors
    /// When one of the trees can't be read.
    pub(super) fn difference(&self) -> Result<Option<String>> {
        self.each(|path, original, copy| {
            let Some(copy) = copy else {
                return Ok(Some(format!("{} is missing", told(path))));
            };
            if facts(original) != facts(copy) {
                return Ok(Some(format!("{} has other attributes", told(path))));
            }
            if attributes(&self.from.join(path))? != attributes(&self.to.join(path))? {
                return Ok(Some(format!(
                    "{} has other extended attributes",
                    told(path)
                )));
            }
            if original.is_symlink() {
                let leads = |root: &Path| fs::read_link(root.join(path));
                if leads(self.from)? != leads(self.to)? {
                    return Ok(Some(format!("{} leads elsewhere", told(path))));
                }
            }
            if original.is_dir() {
                let count =
                    |root: &Path| -> Result<usize> { Ok(fs::read_dir(root.join(path))?.count()) };
                if count(self.from)? != count(self.to)? {
                    return Ok(Some(format!("{} has other names", told(path))));
                }
            }
            Ok(None)
        })
    }

    /// Visits each file with what is at its place in the copy, until there is an answer.
    fn each(
        &self,
        mut visit: impl FnMut(&Path, &Metadata, Option<&Metadata>) -> Result<Option<String>>,
    ) -> Result<Option<String>> {
        let mut pending = vec![PathBuf::new()];
        while let Some(path) = pending.pop() {
            let original = self.from.join(&path);
            let original = original
                .symlink_metadata()
                .with_context(|| original.shown())?;
            let copy = self.to.join(&path).symlink_metadata().ok();
            if let Some(answer) = visit(&path, &original, copy.as_ref())? {
                return Ok(Some(answer));
            }
            if original.is_dir() {
                for entry in fs::read_dir(self.from.join(&path))? {
                    pending.push(path.join(entry?.file_name()));
                }
            }
        }
        Ok(None)
    }
}

/// What a copy has of its original. A directory's size and links are the filesystem's own.
#[derive(PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: u32,
    group: u32,
    device: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
    size: u64,
    links: u64,
}

fn facts(of: &Metadata) -> Facts {
    let is_file = !of.is_dir();
    Facts {
        mode: of.mode(),
        owner: of.uid(),
        group: of.gid(),
        device: of.rdev(),
        modified_seconds: of.mtime(),
        modified_nanoseconds: of.mtime_nsec(),
        size: if is_file { of.size() } else { 0 },
        links: if is_file { of.nlink() } else { 0 },
    }
}

/// ACLs are attributes of these names.
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];
/// The most that the kernel keeps of an attribute, and of all names of a file.
const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;

fn remove_inherited(from: &Path, to: &Path) -> Result<()> {
    let (own, copied) = (attributes(from)?, attributes(to)?);
    for name in ACLS {
        let name = name.as_bytes();
        if copied.contains_key(name) && !own.contains_key(name) {
            lremovexattr(to, name)?;
        }
    }
    Ok(())
}

/// The extended attributes of a file, by their names.
fn attributes(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; ATTRIBUTE_BYTES_MAX];
    let len = llistxattr(path, &mut names[..])?;
    let mut found = BTreeMap::new();
    let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
    let listed = names.get(..len).unwrap_or_default();
    for name in listed
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let len = lgetxattr(path, name, &mut value[..])?;
        found.insert(name.to_vec(), value.get(..len).unwrap_or_default().to_vec());
    }
    Ok(found)
}

fn set_times(path: &Path, original: &Metadata) -> Result<()> {
    let accessed = TimeSpec::new(original.atime(), original.atime_nsec());
    let modified = TimeSpec::new(original.mtime(), original.mtime_nsec());
    let set = || {
        utimensat(
            nix::fcntl::AT_FDCWD,
            path,
            &accessed,
            &modified,
            UtimensatFlags::NoFollowSymlink,
        )
    };
    match set() {
        // It must not be changed, or only appended to.
        Err(Errno::EPERM) => {
            let file = File::open(path)?;
            let flags = ioctl_getflags(file.as_fd())?;
            ioctl_setflags(&file, flags.difference(IFlags::IMMUTABLE | IFlags::APPEND))?;
            let done = set();
            ioctl_setflags(&file, flags)?;
            Ok(done?)
        }
        done => Ok(done?),
    }
}

fn told(path: &Path) -> String {
    quoted(&path.shown())
}

#[cfg(test)]
mod tests {
    use super::Copied;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn times_are_set_and_differences_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        for root in [&from, &to] {
            fs::create_dir_all(root.join("d")).unwrap();
            fs::write(root.join("d/file"), "text").unwrap();
            symlink("nowhere", root.join("link")).unwrap();
        }
        let file = fs::File::options()
            .append(true)
            .open(from.join("d/file"))
            .unwrap();
        file.set_modified(UNIX_EPOCH + Duration::new(1_000_000, 123_456_789))
            .unwrap();
        let copied = Copied {
            from: &from,
            to: &to,
        };
        assert!(
            copied
                .difference()
                .unwrap()
                .unwrap()
                .contains("has other attributes")
        );
        copied.mend().unwrap();
        assert_eq!(copied.difference().unwrap(), None);
        assert_eq!(
            fs::metadata(to.join("d/file")).unwrap().mtime_nsec(),
            123_456_789
        );
        fs::remove_file(to.join("d/file")).unwrap();
        copied.mend().unwrap_err();
        assert!(copied.difference().unwrap().is_some());
    }
}
