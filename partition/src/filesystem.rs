//! Filesystems: what is on a volume, which of its bytes are in use, and whether that can be believed.

mod apfs;
mod beyond;
mod bits;
pub mod boot_fields;
mod btrfs;
mod by_path;
mod chain;
mod cluster;
pub mod dormant;
mod erofs;
mod exfat;
mod ext;
pub mod extents;
mod f2fs;
mod fat;
pub mod files;
mod finder;
mod gather;
#[cfg(test)]
mod golden;
mod hazard;
mod hfsplus;
mod instance;
mod iso9660;
mod kind;
mod known_bad;
mod lvm2;
mod named;
mod ntfs;
mod numbers;
mod own_id;
mod owners;
mod read_only;
mod recognition;
mod replay;
mod replayed;
mod sectors;
mod signature;
mod squashfs;
mod swap;
pub mod usage;
mod worthless;
mod xfs;

pub use by_path::{Listing, Located, Node, NodeKind, Paths};
pub use fat::{ClearedMark, cleared_mark};
pub use hazard::Hazard;
pub use instance::Instance;
pub(crate) use iso9660::beside_table;
pub use kind::Kind;
pub(crate) use owners::{Forgiving, Gaps};
pub use owners::{Owner, Owners};
pub use recognition::{Recognized, known_bad, owners, probe, recognize};
pub use replay::{doubt, replay};
pub use replayed::{Replay, Replayed};
pub use sectors::OnSectors;
pub use usage::{Basis, CUT, UNREAD, Usage, is_cut, usage, usage_by, usage_or_whole};
pub use worthless::Worthless;

use crate::device::{Geometry, Patches, ReadAt};
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::own_id::OwnIds;
use serde::Serialize;
use std::sync::Arc;

/// What a filesystem says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What it is.
    pub kind: Kind,
    /// The volume label, if there is one.
    pub label: Option<String>,
    /// The UUID or serial number as `blkid` prints it, if there is one.
    pub uuid: Option<String>,
    /// Size that the filesystem claims; at most the volume's.
    pub size_bytes: u64,
    /// Allocation unit (block or cluster); 0 when klon knows the filesystem by name only.
    pub block_size_bytes: u32,
    /// Bytes in use by the filesystem's own counters; `None` when it has none.
    pub used_bytes: Option<u64>,
    /// What makes copying by its bitmaps unsafe; empty for a clean volume.
    pub hazards: Vec<Hazard>,
}

/// A digest over the fields that any read-write mount, check or repair of a volume changes.
///
/// Two equal tokens of one volume show that nothing went through its filesystem in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeToken(pub [u8; 32]);

/// A recognised filesystem. It holds parsed geometry, not the device, which is passed to each
/// call and must be the one that was probed, or show the same bytes of the filesystem.
pub trait Filesystem: Send + Sync {
    /// What it says of itself.
    fn summary(&self) -> &Summary;

    /// Every byte of the volume that is in use by the filesystem, its metadata included, also what
    /// it keeps behind its own end; `None` when klon has no parser that could prove any byte free.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a structure fails its check; never a guess.
    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>>;

    /// Where what the filesystem allocates ends: it proves nothing free from there on, and all of it
    /// that is not in [`used`](Self::used) before.
    fn end_bytes(&self) -> u64 {
        self.summary().size_bytes
    }

    /// Why all of the volume has to be copied, when [`used`](Self::used) is `None`.
    fn whole_because(&self) -> String {
        let kind = self.summary().kind;
        match kind.advice() {
            Some(advice) => format!("klon has no allocation map for {kind}: {advice}"),
            None => format!("klon has no allocation map for {kind}"),
        }
    }

    /// The part of [`used`](Self::used) that holds the filesystem's own structures (superblocks,
    /// bitmaps, inodes, trees, directories, journal) rather than contents of files; may include
    /// more than that, never less. `None` when this parser can't tell them apart.
    ///
    /// # Errors
    /// As [`used`](Self::used).
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let _ = device;
        Ok(None)
    }

    /// As [`metadata`](Self::metadata), for who has walked over all files and gathered their `contents`
    /// ([`files::Contents`]); `None` as well where those are not what tells metadata.
    ///
    /// # Errors
    /// As [`used`](Self::used).
    fn metadata_but(&self, device: &dyn ReadAt, contents: &ExtentMap) -> Result<Option<ExtentMap>> {
        let _ = (device, contents);
        Ok(None)
    }

    /// The bytes that the filesystem lists as bad and that nothing else in it claims. They hold
    /// nothing and are no part of [`used`](Self::used). None where any of that can't be told: what
    /// is in doubt is in use.
    fn known_bad(&self, device: &dyn ReadAt) -> ExtentMap {
        let _ = device;
        ExtentMap::new()
    }

    /// The part of [`used`](Self::used) that holds the log of a journal that is empty, without what says
    /// that it is. The filesystem needs nothing of what is there, and zeroes do as well; anything else
    /// may be taken for the log of a later time. None where that can't be told, or is not so.
    fn empty_log(&self, device: &dyn ReadAt) -> ExtentMap {
        let _ = device;
        ExtentMap::new()
    }

    /// The part of [`used`](Self::used) that the filesystem does not need, so that zeroes do as well:
    /// [`empty_log`](Self::empty_log), and structures that were never used. Empty where that can't be told.
    fn blank(&self, device: &dyn ReadAt) -> ExtentMap {
        self.empty_log(device)
    }

    /// The files whose contents are worth nothing on a copy, and the bytes that nobody needs there: the memory of a
    /// system that is not running. Only what is told by what it holds, or by the name that a system gives it.
    ///
    /// # Errors
    /// As [`used`](Self::used).
    fn worthless(&self, device: &dyn ReadAt) -> Result<Vec<Worthless>> {
        worthless::swap_files(self, device)
    }

    /// What becomes of it on a disk with sectors of `sector_bytes`, if it was made on one with others.
    fn on_sectors(&self, sector_bytes: u32) -> OnSectors {
        sectors::by_kind(self.summary(), sector_bytes)
    }

    /// The volume as it is on a device of `to`: with sectors of that size, and as small as that. It is as large as
    /// `to` says. `None` where this parser can't lay it out anew. Nothing is written, and little is kept in memory.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] when it has no room there, or not with such sectors; as [`used`](Self::used).
    fn laid_out(&self, device: Arc<dyn ReadAt>, to: Geometry) -> Option<Result<Arc<dyn ReadAt>>> {
        let _ = (device, to);
        None
    }

    /// How small [`laid_out`](Self::laid_out) can make it without other sectors; `None` where it makes nothing
    /// smaller.
    ///
    /// # Errors
    /// As of [`laid_out`](Self::laid_out).
    fn least_bytes(&self, device: &dyn ReadAt) -> Option<Result<u64>> {
        let _ = device;
        None
    }

    /// Replays the journal, if that is what the volume needs: what the volume is then, shown over what it
    /// is. `None` when this filesystem has none, or this parser can't replay it. [`replay()`] is the one to
    /// ask, as it also checks what comes out.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] or [`crate::Error::Unsupported`] when it can't be replayed,
    /// [`crate::Error::Io`] when the device fails.
    fn replay(&self, device: &dyn ReadAt) -> Option<Result<Replayed>> {
        let _ = device;
        None
    }

    /// Whether the filesystem says that it was unmounted. A clean one need not have been: stamps of files may be
    /// in memory only. Fails as `change_token`.
    fn is_unmounted(&self, device: &dyn ReadAt) -> Result<bool> {
        let _ = device;
        Ok(self.summary().hazards.is_empty())
    }

    /// The change token now; `None` when this filesystem has no fields that prove anything.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    fn change_token(&self, device: &dyn ReadAt) -> Result<Option<ChangeToken>>;

    /// Walks over all files in use, with what identifies each and where it lies. What could not be
    /// looked at, so that nothing is known of the files there; empty when that is none. `None` when
    /// this parser has no such walk.
    fn files(
        &self,
        device: &dyn ReadAt,
        visitor: &mut dyn files::FileVisitor,
    ) -> Option<Vec<String>> {
        let _ = (device, visitor);
        None
    }

    /// Whether several files may have the same block: what one of them writes goes to another block.
    fn shares_blocks(&self) -> bool {
        false
    }

    /// Which filesystem it is, told apart from all others, and what it says of its own past; `None`
    /// when this parser can't tell.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    fn instance(&self, device: &dyn ReadAt) -> Result<Option<Instance>> {
        let _ = device;
        Ok(None)
    }

    /// Walks over all data extents, with the checksum of each of their sectors that has one. It
    /// takes a few mebibytes of memory, however many extents there are. `None` when this filesystem
    /// keeps no checksums of data, or this parser doesn't know them.
    ///
    /// `Ok` when the visitor was told of all extents, or ended the walk itself.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a structure fails its check, [`crate::Error::Unsupported`]
    /// when the filesystem isn't clean, [`crate::Error::Io`] when the device fails. Nothing is
    /// shown then, not even by the extents told before.
    fn data_extents(
        &self,
        device: &dyn ReadAt,
        visitor: &mut dyn extents::ExtentVisitor,
    ) -> Option<Result<()>> {
        let _ = (device, visitor);
        None
    }

    /// What looks up the checksums of data by where it lies, and takes a few mebibytes of memory;
    /// `None` when this filesystem keeps no checksums of data, or this parser doesn't know them.
    ///
    /// # Errors
    /// As [`data_extents`](Self::data_extents).
    fn checksums<'a>(
        &'a self,
        device: &'a dyn ReadAt,
    ) -> Option<Result<Box<dyn extents::ChecksumLookup + 'a>>> {
        let _ = device;
        None
    }

    /// Its files by their paths; `None` when this parser reads no directories for that. A volume that is not clean
    /// may show what is no longer so.
    fn paths<'a>(&'a self, device: &'a dyn ReadAt) -> Option<Paths<'a>> {
        let _ = device;
        None
    }

    /// What is to be changed so that it has a UUID or serial number of its own in place of the one that it has;
    /// nothing where it has none. `None` when this parser can't tell.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] when it can't have another one, [`crate::Error::Io`] when the device fails.
    fn with_own_id(&self, device: &dyn ReadAt, ids: &OwnIds) -> Option<Result<Patches>> {
        let _ = (device, ids);
        None
    }

    /// A count that writes to the filesystem make larger and that nothing in it makes smaller; `None`
    /// when it keeps none. Where it is smaller than it was, an earlier state was brought back, or it
    /// is another copy of the same volume.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    fn age(&self, device: &dyn ReadAt) -> Result<Option<u64>> {
        let _ = device;
        Ok(None)
    }

    /// Which files hold bytes of `extents`: at most `files_max` of them, in the order in which
    /// they are found; directories too. None when this filesystem can't tell.
    ///
    /// Nothing that can't be read or fails its check keeps it from naming the files that it finds
    /// elsewhere; [`Owners::gaps`] says what that was.
    fn owners(&self, device: &dyn ReadAt, extents: &ExtentMap, files_max: usize) -> Owners {
        let _ = (device, extents, files_max);
        Owners::default()
    }
}
