//! The mark of an unfinished clone: what stands where a volume's first sector would be while a
//! run is writing to it.
//!
//! Nothing mounts a volume that begins with it, and any klon recognizes it. 512 bytes, integers
//! little-endian:
//!
//! ```text
//!   0  16  magic "klon-unfinished\n"
//!  16   4  version: 1; 2 when an update is staged; 3 when it is one of a group that is committed as one
//!  20  16  UUID of the run
//!  36   8  when the run began, seconds since 1970 UTC
//!  44   2  length of the source's identity
//!  46 256  the source's identity, UTF-8, cut to fit
//! 302   2  zero; in versions 2 and 3: 1 once the update is being brought into place
//! version 1: the run writes in place; the rest is zero up to the checksum
//! versions 2 and 3: everything that the run writes is staged (see `stage`), and this is its last
//!            index block:
//! 304   4  where it lies: 0 on this volume, 1 on the drive that this volume is a partition of
//! 308   4  its length in bytes
//! 312   8  its offset in bytes
//! 320  32  its SHA-256
//! 352   8  bytes that are staged, the index included
//! 360  32  the change token of the volume's filesystem before; zero for none
//! version 2: the rest is zero up to the checksum
//! version 3: the place in the group (see `stage::group`)
//! 392   4  1 for the leader, whose mark commits the group; 2 for another member
//! 396   4  zero
//! leader: reference to the group's block, as the one to the index block
//! 400  48  where, length, offset, SHA-256
//! member: who leads
//! 400   8  where the leader lies on the drive, in bytes
//! 408   8  its length in bytes
//! 416  16  UUID of the leader's run
//! 432  76  zero up to the checksum; for the leader from 448
//! 508   4  CRC-32C of bytes 0 to 507
//! ```

use crate::clock::unix_seconds_now;
use crate::spot::BlockRef;
use klon_partition::Identity;
use klon_partition::bytes::{le16, le32, le64};
use klon_partition::text::resealed;
use klon_partition::{Extent, ReadAt, Result};
use uuid::Uuid;

/// Length of the mark.
pub const MARK_LEN: usize = 512;
const MAGIC: &[u8; 16] = b"klon-unfinished\n";
const VERSION_IN_PLACE: u32 = 1;
const VERSION_STAGED: u32 = 2;
const VERSION_GROUP: u32 = 3;
const LEADER: u32 = 1;
const MEMBER: u32 = 2;
const SOURCE_LEN_MAX: usize = 256;

/// Says of a volume that a clone to it is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which run.
    pub run: Uuid,
    /// When it began, in seconds since 1970 UTC.
    pub started_unix_seconds: u64,
    /// What was being cloned, as an identity's text.
    pub source: String,
    /// The update that is staged on the drive and can be completed without the source.
    pub staged: Option<Staged>,
}

/// An update that is complete on the drive, but not yet in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The last block of its index.
    pub index: BlockRef,
    /// Bytes of it, the index included.
    pub staged_bytes: u64,
    /// The change token of the filesystem that was on the volume before.
    pub token: Option<[u8; 32]>,
    /// Whether the update is being brought into place. Before that the volume is what it was, except in the
    /// places of signatures.
    pub is_begun: bool,
    /// Whether it is in a group of updates that are committed as one, and as what.
    pub membership: Membership,
}

/// What a staged update is in a group that is committed as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It is in no group.
    Alone,
    /// Its mark commits the group, whose other members this block names.
    Leader(BlockRef),
    /// Another volume's mark commits it.
    Member {
        /// Where that volume lies on the drive.
        leader: Extent,
        /// The run that staged that volume's update.
        run: Uuid,
    },
}

impl Membership {
    fn write(self, bytes: &mut [u8]) {
        match self {
            Self::Alone => {}
            Self::Leader(block) => {
                bytes[..4].copy_from_slice(&LEADER.to_le_bytes());
                bytes[8..56].copy_from_slice(&block.to_bytes());
            }
            Self::Member { leader, run } => {
                bytes[..4].copy_from_slice(&MEMBER.to_le_bytes());
                bytes[8..16].copy_from_slice(&leader.offset_bytes().to_le_bytes());
                bytes[16..24].copy_from_slice(&leader.len_bytes().to_le_bytes());
                bytes[24..40].copy_from_slice(run.as_bytes());
            }
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        match le32(bytes, 0) {
            LEADER => BlockRef::parse(&bytes[8..56]).map(Self::Leader),
            MEMBER => Some(Self::Member {
                leader: Extent::new(le64(bytes, 8), le64(bytes, 16))?,
                run: Uuid::from_slice(&bytes[24..40]).ok()?,
            }),
            _ => None,
        }
    }
}

impl Mark {
    /// A mark of a run that begins now.
    #[must_use]
    pub fn new(source: &str) -> Self {
        let len = source.floor_char_boundary(SOURCE_LEN_MAX);
        Self {
            run: Uuid::new_v4(),
            started_unix_seconds: unix_seconds_now(),
            source: source[..len].to_owned(),
            staged: None,
        }
    }

    /// Whether the clone is of this source.
    #[must_use]
    pub fn is_of(&self, source: &Identity) -> bool {
        Self::new(&source.to_string()).source == self.source
    }

    /// The same run's mark once its update is staged.
    #[must_use]
    pub fn with_staged(&self, staged: Staged) -> Self {
        let staged = Some(staged);
        Self {
            staged,
            ..self.clone()
        }
    }

    /// The mark as it stands on the volume.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; MARK_LEN] {
        let mut bytes = [0; MARK_LEN];
        bytes[..16].copy_from_slice(MAGIC);
        let version = match self.staged.map(|staged| staged.membership) {
            None => VERSION_IN_PLACE,
            Some(Membership::Alone) => VERSION_STAGED,
            Some(_) => VERSION_GROUP,
        };
        bytes[16..20].copy_from_slice(&version.to_le_bytes());
        bytes[20..36].copy_from_slice(self.run.as_bytes());
        bytes[36..44].copy_from_slice(&self.started_unix_seconds.to_le_bytes());
        let source = &self.source.as_bytes()[..self.source.len().min(SOURCE_LEN_MAX)];
        let len = u16::try_from(source.len()).unwrap_or(0);
        bytes[44..46].copy_from_slice(&len.to_le_bytes());
        bytes[46..46 + source.len()].copy_from_slice(source);
        if let Some(staged) = &self.staged {
            bytes[304..352].copy_from_slice(&staged.index.to_bytes());
            bytes[352..360].copy_from_slice(&staged.staged_bytes.to_le_bytes());
            bytes[302] = u8::from(staged.is_begun);
            bytes[360..392].copy_from_slice(&staged.token.unwrap_or_default());
            staged.membership.write(&mut bytes[392..508]);
        }
        let crc = crc32c::crc32c(&bytes[..508]);
        bytes[508..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The mark at the start of `bytes`; `None` when there is none.
    ///
    /// The magic alone makes a mark: one whose other fields are torn still says that the volume
    /// is not whole.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes
            .get(..MARK_LEN)
            .filter(|bytes| bytes.starts_with(MAGIC))?;
        let is_whole = le32(bytes, 508) == crc32c::crc32c(&bytes[..508]);
        let version = le32(bytes, 16);
        let membership = match version {
            VERSION_STAGED => Some(Membership::Alone),
            VERSION_GROUP => Membership::parse(&bytes[392..508]),
            _ => None,
        };
        let staged = BlockRef::parse(&bytes[304..352]).zip(membership);
        let is_known = version == VERSION_IN_PLACE || staged.is_some();
        if !is_whole || !is_known {
            let source = "unknown (the mark is damaged or of a later klon)".to_owned();
            return Some(Self {
                run: Uuid::nil(),
                started_unix_seconds: 0,
                source,
                staged: None,
            });
        }
        let token = <[u8; 32]>::try_from(&bytes[360..392]).unwrap_or_default();
        let source_len = usize::from(le16(bytes, 44)).min(SOURCE_LEN_MAX);
        Some(Self {
            run: Uuid::from_slice(&bytes[20..36]).unwrap_or_default(),
            started_unix_seconds: le64(bytes, 36),
            source: resealed(&String::from_utf8_lossy(&bytes[46..46 + source_len])),
            staged: staged.map(|(index, membership)| Staged {
                index,
                staged_bytes: le64(bytes, 352),
                token: (token != [0; 32]).then_some(token),
                is_begun: le16(bytes, 302) != 0,
                membership,
            }),
        })
    }

    /// The mark on `volume`; `None` when there is none.
    ///
    /// # Errors
    /// [`klon_partition::Error::Io`] when the device fails.
    pub fn read(volume: &dyn ReadAt) -> Result<Option<Self>> {
        let mut bytes = [0; MARK_LEN];
        if volume.geometry().size_bytes < bytes.len() as u64 {
            return Ok(None);
        }
        volume.read_exact_at(&mut bytes, 0)?;
        Ok(Self::parse(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, Membership, Staged};
    use crate::spot::{Area, BlockRef, Spot};
    use klon_partition::Extent;
    use klon_partition::Identity;

    #[test]
    fn a_mark_reads_back_and_a_torn_one_is_still_a_mark() {
        let mark = Mark::new("partuuid:0001");
        assert_eq!(Mark::parse(&mark.to_bytes()), Some(mark.clone()));
        let mut torn = mark.to_bytes();
        torn[100..].fill(0xff);
        assert!(Mark::parse(&torn).unwrap().source.contains("damaged"));
        assert_eq!(Mark::parse(&[0; 512]), None);
        assert_eq!(Mark::parse(&mark.to_bytes()[..511]), None);
    }

    #[test]
    fn the_mark_of_a_staged_update_says_where_its_index_is() {
        for area in [Area::Volume, Area::Drive] {
            let spot = Spot {
                area,
                extent: Extent::new(7 << 20, 4096).unwrap(),
            };
            let digest = [0xab; 32];
            let index = BlockRef { spot, digest };
            let leader = Extent::new(1 << 20, 2 << 20).unwrap();
            let run = Mark::new("").run;
            let memberships = [
                (false, Membership::Alone),
                (true, Membership::Leader(index)),
                (false, Membership::Member { leader, run }),
            ];
            for (is_begun, membership) in memberships {
                let mark = Mark::new("partuuid:0001").with_staged(Staged {
                    index,
                    staged_bytes: 123_456,
                    token: Some([0xcd; 32]).filter(|_| is_begun),
                    is_begun,
                    membership,
                });
                assert_eq!(Mark::parse(&mark.to_bytes()), Some(mark));
            }
        }
    }

    #[test]
    fn a_long_source_is_cut_at_a_character() {
        let mark = Mark::new(&"ü".repeat(200));
        assert_eq!(mark.source.chars().count(), 128);
        let long = Identity::Path(format!("/{}", "ü".repeat(200)));
        let mark = Mark::parse(&Mark::new(&long.to_string()).to_bytes()).unwrap();
        assert!(mark.is_of(&long) && !mark.is_of(&Identity::Path("/".to_owned())));
        assert_eq!(Mark::parse(&mark.to_bytes()).unwrap().source, mark.source);
    }
}
