//! Answers to the questions that the kernel asks about a mounted image. Nothing can be written.

use super::seek;
use super::tree::{Node, Tree};
use fuser::{
    Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, Request,
};
use klon_imaging::serve::Export;
use klon_partition::locks::{read_lock, write_lock};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// How long the kernel may believe what it was told: nothing of it changes.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
const BLOCK_BYTES: u32 = 4096;
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// A tree, and who reads which file of it.
pub struct Files {
    tree: Tree,
    open: RwLock<HashMap<u64, Arc<Export>>>,
    handles: AtomicU64,
}

impl Files {
    /// Nobody reads yet.
    pub fn new(tree: Tree) -> Self {
        Self {
            tree,
            open: RwLock::default(),
            handles: AtomicU64::new(1),
        }
    }

    fn opened(&self, handle: FileHandle) -> Result<Arc<Export>, Errno> {
        let open = read_lock(&self.open);
        open.get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    fn read_part(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let export = self.opened(handle)?;
        let rest = export.size_bytes().saturating_sub(offset);
        let len = rest.min(size.into());
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Errno::EINVAL)?];
        // Half an answer would be taken for the end of the file.
        let read = export.device.read_exact_at(&mut bytes, offset);
        read.map_err(|_| Errno::EIO)?;
        Ok(bytes)
    }

    fn seek(&self, handle: FileHandle, offset: i64, whence: i32) -> Result<i64, Errno> {
        let export = self.opened(handle)?;
        let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        if offset >= export.size_bytes() {
            return Err(Errno::ENXIO);
        }
        let found = match whence {
            SEEK_DATA => seek::data(&*export.device, offset).map_err(|_| Errno::EIO)?,
            SEEK_HOLE => Some(seek::hole(&*export.device, offset).map_err(|_| Errno::EIO)?),
            _ => return Err(Errno::EINVAL),
        };
        let found = found.ok_or(Errno::ENXIO)?;
        i64::try_from(found).map_err(|_| Errno::EOVERFLOW)
    }
}

fn node(inode: INodeNo) -> Result<Node, Errno> {
    Node::of(inode).ok_or(Errno::ENOENT)
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = node(parent).and_then(|parent| {
            let name = name.to_str().ok_or(Errno::ENOENT)?;
            let node = self.tree.lookup(parent, name)?;
            self.tree.attributes(node)
        });
        match found {
            Ok(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match node(inode).and_then(|node| self.tree.attributes(node)) {
            Ok(attributes) => reply.attr(&FOREVER, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        match node(inode) {
            Ok(Node::Latest) => reply.data(self.tree.latest().as_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match node(inode).and_then(|node| self.tree.open(node)) {
            Ok(export) => {
                let handle = self.handles.fetch_add(1, Ordering::Relaxed);
                let mut open = write_lock(&self.open);
                open.insert(handle, Arc::new(export));
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_part(handle, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut open = write_lock(&self.open);
        open.remove(&handle.0);
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match node(inode).and_then(|node| self.tree.entries(node)) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (node, name)) in entries.into_iter().enumerate().skip(first) {
            if reply.add(node.inode(), index as u64 + 1, node.kind(), name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = self.tree.image_bytes().div_ceil(BLOCK_BYTES.into());
        let files = self.tree.numbers().len() as u64;
        reply.statfs(blocks, 0, 0, files, 0, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        match self.seek(handle, offset, whence) {
            Ok(found) => reply.offset(found),
            Err(error) => reply.error(error),
        }
    }
}
