//! Numbers of clusters and file records. Each is a type of its own, so that none is taken for
//! another; `place` makes bytes of them.
//!
//! Linux-NTFS documentation, "Clusters" and "File Reference":
//! <https://flatcap.github.io/linux-ntfs/ntfs/concepts/index.html>.

use crate::filesystem::numbers::displayed;

/// Logical cluster number: a cluster of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lcn(pub(super) u64);

/// Virtual cluster number: a cluster of the value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Vcn(pub(super) u64);

/// The number of a file record: its index in the master file table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RecordNumber(pub(super) u64);

displayed!(Lcn Vcn RecordNumber);
