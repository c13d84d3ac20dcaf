//! Which blocks of a volume are proven to be as they were, by the metadata of its files alone.
//!
//! Of each regular file a run keeps an [`Entry`]: a digest of its inode and one of where its bytes
//! lie. If every operation that changes a file's bytes changes its inode, then a block that a file
//! with the same inode has at the same place holds what it held, however it got there. So a run
//! reads all that is in use but what is proven: a parser that understands less proves less, and
//! more is read.
//!
//! A block is proven when all of this holds:
//!
//! 1. A regular file that is a user's has it, and had it then; the filesystem keeps nothing of its
//!    own in the file, and it is not marked as immutable (boot loaders write the blocks of such
//!    files without a trace).
//! 2. The file's inode is the same but for its time of access and its checksums. A count of
//!    changes that reads raise, too, may have risen when the time of access is another.
//! 3. All of the file's runs are the same: where in the file, where on the volume, whether written.
//! 4. The inode changed last before the [`Horizon`] of the run that kept the entry, and its stamp can be
//!    one of a clock.
//! 5. The block was written, and lies before the file's end; or it is no block of any file, in a
//!    cluster with such a one.
//! 6. Nothing in the file's first 64 KiB was swap's signature or a boot loader's variables when it
//!    was read last ([`signatures_in`]): what owns such a file writes it past the filesystem.
//! 7. The record describes the block (it was in use, could be read, was not left out), and nothing
//!    else but regular files has it now. No file had it then, or has it now, that is written past
//!    the filesystem. Where files can't share blocks, no other file has it.
//!
//! A file's runs are compared as a whole. If only some blocks of a file moved, all of them are read
//! again: that is what defragmentation and shrinking do, which are rare; extents of each file
//! would make what is kept several times as large on volumes whose files are in pieces.
//!
//! On NTFS this is a heuristic, as files can be written without a change of their records; it is used only
//! where the user asks for it ([`Reliance::trusts_file_records`](super::Reliance)). A file whose name is one
//! of those that are often written so is never proven.
//!
//! Of a filesystem that keeps a checksum of each sector, extents are compared instead, by another
//! rule: [`walk_extents`].
//!
//! [`refusal`] says when none of it may be believed.

mod areas;
mod extents;
mod fold;
mod horizon;
mod identities;
mod mapping;
mod refusal;
mod request;
mod rule;
mod signatures;
mod stream;
mod verdict;
mod walk;

pub(super) use areas::Area;
pub use extents::{
    ExtentCount, ExtentVerdict, ExtentWriter, FoundExtents, KeptExtent, KeptExtents,
    PreviousExtents, walk_extents,
};
pub use horizon::Horizon;
pub use identities::{Counted, Entry, Identities, IdentitiesError, IdentityWriter, Kept};
pub use refusal::{
    Continuity, Faster, Refusal, Session, Stamped, refusal, set_back_seconds, went_down,
};
pub use request::Walk;
pub use rule::{Guard, Rule};
pub use signatures::{Signatures, signatures_in};
pub use stream::{Keep, Stream, StreamWriter};
pub use verdict::{Count, Largest, Previous, ReadWhole, Verdict, WalkError};
pub use walk::{Found, walk};

#[cfg(test)]
mod tests;
