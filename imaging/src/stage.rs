//! Staged updates: an update is first written to room that neither the old nor the new state uses,
//! and then brought into place.
//!
//! Until the mark (see [`mark`](crate::mark)) is durable, the old clone is intact. From then on the
//! drive alone holds everything that the new clone needs. [`apply`] can complete it on any machine,
//! however often it is interrupted, because it reads from room and writes outside of it. One mark
//! can commit updates of several volumes of a drive: see [`group`].
//!
//! The index of what is staged is a chain of blocks, each of which refers to the one before it; the
//! mark refers to the last one. All integers are little-endian.
//!
//! ```text
//! reference to a block, 48 bytes
//!  0   4  where: 0 on the volume, 1 on the drive that the volume is a partition of
//!  4   4  length of the block in bytes; 0 for no block
//!  8   8  offset of the block in bytes
//! 16  32  SHA-256 of the block
//!
//! block: header, 96 bytes, and entries, 64 bytes each
//!  0   8  magic "klonstg\n"
//!  8   4  version, 1
//! 12   4  number of entries
//! 16  16  UUID of the run
//! 32   8  number of the block, from 0
//! 40   8  zero
//! 48  48  reference to the block before; all zero for block 0
//!
//! entry
//!  0   8  where on the volume the bytes belong
//!  8   4  how many; at most 1 MiB
//! 12   4  where they are: 0 on the volume, 1 on the drive, 2 nowhere: they are zero; with bit 2
//!         (4) set they are what was there before, kept for the places that the mark replaces
//! 16   8  where there, in bytes; 0 for zeroes
//! 24  32  SHA-256 of the bytes; zero for zeroes
//! 56   8  zero
//! ```

pub mod apply;
mod blocks;
mod bounds;
mod earlier;
mod finish;
pub mod group;
mod index;
mod passes;
mod room;
mod stager;
mod unchanged;

pub use crate::spot::{Area, BlockRef, Spot, StagedPart};
pub use apply::Finished;
pub use finish::{finish, finish_alone};
pub use group::Group;
pub(crate) use passes::PassStager;
pub use room::{Room, Rooms, Space};
pub use stager::Stager;
