//! Files by their paths, of filesystems whose directories klon can read.

use crate::device::{Patches, ReadAt};
use crate::error::{Error, Result};
use crate::extent::Extent;

/// As many links as the kernel follows on one path.
const LINKS_MAX: usize = 40;
/// No path is longer.
const LINK_BYTES_MAX: usize = 4096;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// A file or directory of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// What the filesystem counts it by: an inode, or its first cluster.
    pub(super) number: u64,
    /// What it is.
    pub kind: NodeKind,
    /// The length of its contents; 0 for a directory of FAT.
    pub size_bytes: u64,
}

/// Names in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The first of them, in the order of the directory.
    pub names: Vec<String>,
    /// Whether there are no more.
    pub is_whole: bool,
}

impl Listing {
    /// The first `names_max` of all names.
    pub(super) fn first(mut all: impl Iterator<Item = String>, names_max: usize) -> Self {
        let names = all.by_ref().take(names_max).collect();
        let is_whole = all.next().is_none();
        Self { names, is_whole }
    }
}

/// What a parser reads of directories and files. All of it is bounded by the size of the filesystem.
pub(super) trait Directories {
    /// The root directory.
    fn root(&self) -> Result<Node>;

    /// At most `names_max` of the names in a directory, sealed, without "." and "..".
    fn names(&self, directory: &Node, names_max: usize) -> Result<Listing>;

    /// What a name in a directory stands for.
    fn child(&self, directory: &Node, name: &str) -> Result<Option<Node>>;

    /// The first `len_max` bytes of a file or of the target of a link.
    fn contents(&self, node: &Node, len_max: usize) -> Result<Vec<u8>>;

    /// The runs that have the first `len_max` bytes of a file; `None` where they lie among other things, as in
    /// its inode, or can't be changed there.
    fn runs(&self, file: &Node, len_max: usize) -> Result<Option<Vec<Run>>>;
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it begins in the file.
    pub(super) file_offset_bytes: u64,
    /// Where it lies on the volume.
    pub(super) extent: Extent,
}

/// The written runs of a file, which come in its order.
pub(super) struct InOrder {
    runs: Vec<Run>,
    /// Where the last run ends in the file.
    end_bytes: u64,
    /// What is asked for ends there.
    len_bytes: u64,
    overlap_bytes: Option<u64>,
}

impl InOrder {
    /// Those of the first `len_bytes`.
    pub(super) const fn up_to(len_bytes: u64) -> Self {
        Self {
            runs: Vec::new(),
            end_bytes: 0,
            len_bytes,
            overlap_bytes: None,
        }
    }

    /// Takes the next run. Whether more are wanted.
    pub(super) fn add(&mut self, run: Run, is_written: bool) -> bool {
        if run.file_offset_bytes < self.end_bytes {
            self.overlap_bytes = Some(run.file_offset_bytes);
            return false;
        }
        self.end_bytes = run.file_offset_bytes.saturating_add(run.extent.len_bytes());
        if is_written {
            self.runs.push(run);
        }
        self.end_bytes < self.len_bytes
    }

    /// The runs, or where one begins before the one before it ends: many that do would have the same bytes read again
    /// and again.
    pub(super) fn finish(self) -> std::result::Result<Vec<Run>, Overlap> {
        match self.overlap_bytes {
            None => Ok(self.runs),
            Some(found_bytes) => Err(Overlap {
                least_bytes: self.end_bytes,
                found_bytes,
            }),
        }
    }
}

/// A run that begins in the file before the one before it ends.
pub(super) struct Overlap {
    /// Where it may begin at the earliest.
    pub(super) least_bytes: u64,
    /// Where it begins.
    pub(super) found_bytes: u64,
}

/// A file with the places where its contents lie.
#[derive(Clone, Debug)]
pub struct Located {
    /// Its contents.
    pub bytes: Vec<u8>,
    /// `None` where a change of its bytes would not be a change of the volume's alone.
    runs: Option<Vec<Run>>,
}

impl Located {
    /// Adds what makes its contents `new`, which are as long, and says whether that can be.
    ///
    /// # Errors
    /// As [`Patches::add`].
    pub fn change(&self, new: &[u8], patches: &mut Patches) -> Result<bool> {
        let Some(runs) = &self.runs else {
            return Ok(false);
        };
        for run in runs {
            let (Ok(start), Ok(len)) = (
                usize::try_from(run.file_offset_bytes),
                usize::try_from(run.extent.len_bytes()),
            ) else {
                continue;
            };
            let end = start
                .saturating_add(len)
                .min(self.bytes.len())
                .min(new.len());
            if let (Some(old), Some(new)) = (self.bytes.get(start..end), new.get(start..end)) {
                patches.add(run.extent.offset_bytes(), old, new)?;
            }
        }
        Ok(true)
    }

    /// Where its first bytes lie, which is the same for all names of a file; `None` where that is in no place
    /// of its own.
    #[must_use]
    pub fn first_bytes(&self) -> Option<u64> {
        let first = self.runs.as_ref()?.first()?;
        Some(first.extent.offset_bytes())
    }
}

/// The files of a filesystem by their paths. Names and paths are sealed text (`text`).
pub struct Paths<'a>(Box<dyn Directories + 'a>);

impl<'a> Paths<'a> {
    pub(super) fn new(directories: impl Directories + 'a) -> Self {
        Self(Box::new(directories))
    }

    /// What is at `path`, which begins at the root directory whether it has a slash there or not. Links are
    /// followed; `None` where nothing is there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a structure fails its check, [`Error::Unsupported`] for what this reader does not
    /// know, [`Error::Io`] when the device fails.
    pub fn find(&self, path: &str) -> Result<Option<Node>> {
        let root = self.0.root()?;
        let mut above: Vec<Node> = Vec::new();
        let mut at = root;
        let mut left: Vec<String> = components(path).rev().collect();
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                at = above.pop().unwrap_or(root);
                continue;
            }
            if at.kind != NodeKind::Directory {
                return Ok(None);
            }
            let Some(child) = self.0.child(&at, &name)? else {
                return Ok(None);
            };
            if child.kind != NodeKind::Link {
                above.push(std::mem::replace(&mut at, child));
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Ok(None);
            }
            let target = self.0.contents(&child, LINK_BYTES_MAX)?;
            let target = crate::text::sealed_bytes(&target);
            if target.starts_with('/') {
                above.clear();
                at = root;
            }
            left.extend(components(&target).rev());
        }
        Ok(Some(at))
    }

    /// The first `len_max` bytes of the file at `path`; `None` where no file is there.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn read(&self, path: &str, len_max: usize) -> Result<Option<Vec<u8>>> {
        match self.find(path)?.filter(|node| node.kind == NodeKind::File) {
            Some(node) => self.0.contents(&node, len_max).map(Some),
            None => Ok(None),
        }
    }

    /// As [`read`](Self::read), with the places where the contents lie.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn locate(&self, path: &str, len_max: usize) -> Result<Option<Located>> {
        let Some(node) = self.find(path)?.filter(|node| node.kind == NodeKind::File) else {
            return Ok(None);
        };
        Ok(Some(Located {
            bytes: self.0.contents(&node, len_max)?,
            runs: self.0.runs(&node, len_max)?,
        }))
    }

    /// At most `names_max` of the names in the directory at `path`; `None` where no directory is there.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn list(&self, path: &str, names_max: usize) -> Result<Option<Listing>> {
        match self
            .find(path)?
            .filter(|node| node.kind == NodeKind::Directory)
        {
            Some(node) => self.0.names(&node, names_max).map(Some),
            None => Ok(None),
        }
    }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    let all = path.split('/');
    all.filter(|name| !name.is_empty() && *name != ".")
        .map(str::to_owned)
}

/// Reads the first `len` bytes of a file that has these runs. What is in none of them is zero.
pub(super) fn gather(device: &dyn ReadAt, len: usize, runs: &[Run]) -> Result<Vec<u8>> {
    let mut contents = vec![0; len];
    for &Run {
        file_offset_bytes,
        extent,
    } in runs
    {
        let Some(start) = usize::try_from(file_offset_bytes)
            .ok()
            .filter(|&start| start < len)
        else {
            continue;
        };
        let run_len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
        let end = start.saturating_add(run_len).min(len);
        if let Some(part) = contents.get_mut(start..end) {
            device.read_exact_at(part, extent.offset_bytes())?;
        }
    }
    Ok(contents)
}

/// That this reader does not know how a file or directory is kept.
pub(super) fn unknown(what: &str) -> Error {
    Error::unsupported(what.to_owned(), "klon can't read such files by their paths")
}

#[cfg(test)]
mod tests;
