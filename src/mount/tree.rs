//! What is in the file system: names, numbers and attributes.

use fuser::{Errno, FileAttr, FileType, INodeNo};
use klon_imaging::image::Snapshot;
use klon_imaging::serve::{Export, ExportName, ImageExports};
use klon_partition::Extent;
use klon_partition::locks::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many inodes a snapshot has: its directory is the first, and its files follow.
const INODES: u64 = 1 << 16;
const LATEST: &str = "latest";

/// Who may read: whoever may read the image.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits of the image's file.
    pub mode: u32,
}

/// All that is in the file system.
pub struct Tree {
    exports: ImageExports,
    /// The snapshots that are shown, ascending.
    numbers: Vec<u64>,
    owner: Owner,
    /// The directories that were looked at.
    seen: Mutex<HashMap<u64, Arc<Directory>>>,
}

/// The directory of a snapshot.
struct Directory {
    files: Vec<File>,
    time: SystemTime,
}

struct File {
    name: String,
    export: ExportName,
    size_bytes: u64,
    data_bytes: u64,
}

/// Something that has an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The uppermost directory.
    Root,
    /// The link to the last snapshot.
    Latest,
    /// A snapshot's directory, by its place among those that are shown.
    Snapshot(usize),
    /// A file in it.
    File(usize, usize),
}

impl Node {
    /// The node of an inode, which need not be there.
    pub fn of(inode: INodeNo) -> Option<Self> {
        let place = |inode: u64| usize::try_from(inode / INODES - 1).ok();
        match (inode.0, inode.0 % INODES) {
            (1, _) => Some(Self::Root),
            (2, _) => Some(Self::Latest),
            (0..INODES, _) => None,
            (inode, 0) => Some(Self::Snapshot(place(inode)?)),
            (inode, file) => Some(Self::File(place(inode)?, usize::try_from(file - 1).ok()?)),
        }
    }

    /// Its inode.
    pub const fn inode(self) -> INodeNo {
        INodeNo(match self {
            Self::Root => 1,
            Self::Latest => 2,
            Self::Snapshot(place) => (place as u64 + 1) * INODES,
            Self::File(place, file) => (place as u64 + 1) * INODES + file as u64 + 1,
        })
    }

    /// What it is.
    pub const fn kind(self) -> FileType {
        match self {
            Self::Root | Self::Snapshot(_) => FileType::Directory,
            Self::Latest => FileType::Symlink,
            Self::File(..) => FileType::RegularFile,
        }
    }
}

impl Tree {
    /// All snapshots of an image, or the one that is the default of `exports` alone.
    pub fn new(exports: ImageExports, is_only_default: bool, owner: Owner) -> Self {
        let entries = &exports.image().catalog().snapshots;
        let numbers = if is_only_default {
            vec![exports.default_number()]
        } else {
            entries.iter().map(|entry| entry.number).collect()
        };
        Self {
            exports,
            numbers,
            owner,
            seen: Mutex::default(),
        }
    }

    /// The numbers of the snapshots, ascending.
    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// Size of the image's file.
    pub fn image_bytes(&self) -> u64 {
        self.exports.image().size_bytes()
    }

    /// Where `latest` leads.
    pub fn latest(&self) -> String {
        self.numbers.last().map_or_else(String::new, u64::to_string)
    }

    fn directory(&self, place: usize) -> Result<Arc<Directory>, Errno> {
        let number = *self.numbers.get(place).ok_or(Errno::ENOENT)?;
        let mut seen = lock(&self.seen);
        if let Some(directory) = seen.get(&number) {
            return Ok(Arc::clone(directory));
        }
        let device = self.exports.device(number).map_err(|_| Errno::EIO)?;
        let directory = Arc::new(Directory::of(device.snapshot()));
        seen.insert(number, Arc::clone(&directory));
        Ok(directory)
    }

    /// The node of that name in a directory.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR; EIO for an image that can't be read.
    pub fn lookup(&self, parent: Node, name: &str) -> Result<Node, Errno> {
        let found = match parent {
            Node::Root if name == LATEST => Some(Node::Latest),
            Node::Root => {
                let mut numbers = self.numbers.iter();
                let place = numbers.position(|number| number.to_string() == name);
                place.map(Node::Snapshot)
            }
            Node::Snapshot(place) => {
                let directory = self.directory(place)?;
                let file = directory.files.iter().position(|file| file.name == name);
                file.map(|file| Node::File(place, file))
            }
            Node::Latest | Node::File(..) => return Err(Errno::ENOTDIR),
        };
        found.ok_or(Errno::ENOENT)
    }

    /// What is in a directory.
    ///
    /// # Errors
    /// ENOTDIR; EIO for an image that can't be read.
    pub fn entries(&self, node: Node) -> Result<Vec<(Node, String)>, Errno> {
        let own = |parent| vec![(node, ".".to_owned()), (parent, "..".to_owned())];
        let mut entries = own(Node::Root);
        match node {
            Node::Root => {
                let numbers = self.numbers.iter().enumerate();
                entries.extend(
                    numbers.map(|(place, number)| (Node::Snapshot(place), number.to_string())),
                );
                entries.push((Node::Latest, LATEST.to_owned()));
            }
            Node::Snapshot(place) => {
                let directory = self.directory(place)?;
                let files = directory.files.iter().enumerate();
                entries.extend(
                    files.map(|(file, entry)| (Node::File(place, file), entry.name.clone())),
                );
            }
            Node::Latest | Node::File(..) => return Err(Errno::ENOTDIR),
        }
        Ok(entries)
    }

    /// Attributes of a node.
    ///
    /// # Errors
    /// ENOENT; EIO for an image that can't be read.
    pub fn attributes(&self, node: Node) -> Result<FileAttr, Errno> {
        let last = self.numbers.len().saturating_sub(1);
        let (place, file) = match node {
            Node::Root | Node::Latest => (last, None),
            Node::Snapshot(place) => (place, None),
            Node::File(place, file) => (place, Some(file)),
        };
        // A damaged snapshot is no reason not to show the others.
        let directory = match (self.directory(place), node) {
            (Err(_), Node::Root | Node::Latest) => Arc::new(Directory {
                files: Vec::new(),
                time: UNIX_EPOCH,
            }),
            (directory, _) => directory?,
        };
        let file = match file {
            Some(file) => Some(directory.files.get(file).ok_or(Errno::ENOENT)?),
            None => None,
        };
        let size_bytes = match node {
            Node::Latest => self.latest().len() as u64,
            _ => file.map_or(0, |file| file.size_bytes),
        };
        let time = directory.time;
        Ok(FileAttr {
            ino: node.inode(),
            size: size_bytes,
            blocks: file.map_or(0, |file| file.data_bytes.div_ceil(512)),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: node.kind(),
            perm: self.permissions(node),
            nlink: match node.kind() {
                FileType::Directory => 2,
                _ => 1,
            },
            uid: self.owner.uid,
            gid: self.owner.gid,
            rdev: 0,
            blksize: 128 << 10,
            flags: 0,
        })
    }

    fn permissions(&self, node: Node) -> u16 {
        let read = u16::try_from(self.owner.mode & 0o444).unwrap_or(0o400);
        match node.kind() {
            FileType::Directory => read | read >> 2,
            FileType::Symlink => 0o777,
            _ => read,
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// EISDIR, ENOENT; EIO for an image that can't be read.
    pub fn open(&self, node: Node) -> Result<Export, Errno> {
        let Node::File(place, file) = node else {
            return Err(Errno::EISDIR);
        };
        let directory = self.directory(place)?;
        let file = directory.files.get(file).ok_or(Errno::ENOENT)?;
        let opened = self.exports.open_named(file.export);
        opened.map_err(|_| Errno::EIO)?.ok_or(Errno::ENOENT)
    }
}

impl Directory {
    fn of(snapshot: &Snapshot) -> Self {
        let meta = snapshot.meta();
        let data_bytes = |extent: Extent| {
            let parts = snapshot.manifest().data.within(extent);
            parts.map(Extent::len_bytes).sum()
        };
        let file = |name: String, partition, extent: Extent| File {
            name,
            export: ExportName {
                snapshot: Some(snapshot.number()),
                partition,
            },
            size_bytes: extent.len_bytes(),
            data_bytes: data_bytes(extent),
        };
        let whole = Extent::new(0, meta.source_bytes);
        let name = match meta.kind {
            klon_imaging::image::VolumeKind::Disk => "disk.img",
            klon_imaging::image::VolumeKind::Volume => "volume.img",
        };
        let first = whole.map(|whole| file(name.to_owned(), None, whole));
        let parts = meta.partitions.iter();
        let parts = parts.filter(|part| whole.is_some_and(|whole| whole.contains(part.extent)));
        let parts = parts.map(|part| {
            let name = format!("partition-{}.img", part.number);
            file(name, Some(part.number), part.extent)
        });
        let since = Duration::from_secs(meta.run.ended_unix_seconds);
        Self {
            files: first.into_iter().chain(parts).take(1 << 15).collect(),
            time: UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Node;
    use fuser::INodeNo;

    #[test]
    fn every_node_has_an_inode_of_its_own() {
        let nodes = [
            Node::Root,
            Node::Latest,
            Node::Snapshot(0),
            Node::File(0, 0),
            Node::File(0, 40),
            Node::Snapshot(1),
            Node::File(77, 1),
        ];
        for (index, node) in nodes.into_iter().enumerate() {
            assert_eq!(Node::of(node.inode()), Some(node));
            assert!(nodes[..index].iter().all(|one| one.inode() != node.inode()));
        }
        assert_eq!(Node::of(INodeNo(0)), None);
        assert_eq!(Node::of(INodeNo(3)), None);
    }
}
