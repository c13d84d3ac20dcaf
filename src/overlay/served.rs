//! A file system of one file, which can be written: answers to what the kernel asks about it.

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use klon_partition::{Extent, WriteAt};
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name of the file.
pub(super) const NAME: &str = "klon-overlay";
/// The name of the second one, where there are two.
pub(super) const SECOND: &str = "klon-second";

/// How long the kernel may cache attributes. Only the room changes the file.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
const ROOT: INodeNo = INodeNo(1);
/// The number of the first file.
const FIRST: u64 = 2;
/// `FALLOC_FL_KEEP_SIZE`, `FALLOC_FL_PUNCH_HOLE` and `FALLOC_FL_ZERO_RANGE` of `linux/falloc.h`.
const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;
const ZERO_RANGE: i32 = 16;

/// Devices as those files.
pub(super) struct Served(Vec<ServedFile>);

/// A device as a file.
struct ServedFile {
    device: Arc<dyn WriteAt>,
    /// Programs that shrink a filesystem in a file cut the file, too.
    size_bytes: AtomicU64,
}

impl Served {
    /// One or two devices.
    pub(super) fn new(devices: Vec<Arc<dyn WriteAt>>) -> Self {
        let file = |device: Arc<dyn WriteAt>| ServedFile {
            size_bytes: device.geometry().size_bytes.into(),
            device,
        };
        Self(devices.into_iter().map(file).collect())
    }

    fn file(&self, inode: INodeNo) -> Result<&ServedFile, Errno> {
        let index = inode
            .0
            .checked_sub(FIRST)
            .and_then(|it| usize::try_from(it).ok());
        index
            .and_then(|index| self.0.get(index))
            .ok_or(Errno::ENOENT)
    }

    fn named(name: &OsStr) -> Option<INodeNo> {
        let index = [NAME, SECOND].iter().position(|it| name == *it)?;
        Some(INodeNo(FIRST + index as u64))
    }

    fn attributes(&self, inode: INodeNo) -> Result<FileAttr, Errno> {
        let (kind, size, perm) = match inode {
            ROOT => (FileType::Directory, 0, 0o700),
            inode => (FileType::RegularFile, self.file(inode)?.size(), 0o600),
        };
        Ok(FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl ServedFile {
    fn size(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    fn read(&self, offset_bytes: u64, len: u32) -> Result<Vec<u8>, Errno> {
        let rest = self.size().saturating_sub(offset_bytes);
        let mut bytes = vec![0; rest.min(len.into()) as usize];
        let read = self.device.read_exact_at(&mut bytes, offset_bytes);
        read.map(|()| bytes).map_err(|error| code(&error))
    }

    fn write(&self, data: &[u8], offset_bytes: u64) -> Result<u32, Errno> {
        let end_bytes = offset_bytes.checked_add(data.len() as u64);
        if end_bytes.is_none_or(|end_bytes| end_bytes > self.size()) {
            return Err(Errno::EFBIG);
        }
        let written = self.device.write_all_at(data, offset_bytes);
        written.map_err(|error| code(&error))?;
        u32::try_from(data.len()).map_err(|_| Errno::EINVAL)
    }

    /// Cuts the file. It never becomes larger again.
    fn cut(&self, size_bytes: u64) -> Result<(), Errno> {
        if size_bytes > self.size() {
            return Err(Errno::EFBIG);
        }
        self.size_bytes.store(size_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn clear(&self, offset_bytes: u64, len_bytes: u64, mode: i32) -> Result<(), Errno> {
        let is_known =
            mode == PUNCH_HOLE | KEEP_SIZE || mode == ZERO_RANGE || mode == ZERO_RANGE | KEEP_SIZE;
        if !is_known {
            return Err(Errno::EOPNOTSUPP);
        }
        let end_bytes = offset_bytes.saturating_add(len_bytes).min(self.size());
        let Some(extent) = Extent::between(offset_bytes, end_bytes) else {
            return Ok(());
        };
        self.device.zero(extent).map_err(|error| code(&error))
    }
}

fn code(error: &klon_partition::Error) -> Errno {
    match error {
        klon_partition::Error::Io { source, .. } => {
            source.raw_os_error().map_or(Errno::EIO, Errno::from_i32)
        }
        _ => Errno::EIO,
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = Self::named(name).filter(|_| parent == ROOT);
        match inode.and_then(|inode| self.attributes(inode).ok()) {
            Some(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Ok(attributes) => reply.attr(&FOREVER, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let cut = match (size, self.file(inode)) {
            (Some(size), Ok(file)) => file.cut(size),
            _ => Ok(()),
        };
        match cut.and_then(|()| self.attributes(inode)) {
            Ok(attributes) => reply.attr(&FOREVER, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.file(inode) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.file(inode).and_then(|file| file.read(offset, size)) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.file(inode).and_then(|file| file.write(data, offset)) {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let cleared = self.file(inode);
        match cleared.and_then(|file| file.clear(offset, length, mode)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    /// What was written is with klon already, and need not be durable.
    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }
}
