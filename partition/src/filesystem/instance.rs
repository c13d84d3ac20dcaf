//! Which filesystem a volume holds, and what the filesystem says of its own past. Two looks at a volume must
//! agree in this. Otherwise what the filesystem says of its files does not count.

use serde::{Deserialize, Serialize};

/// A filesystem, told apart from all others, and what it says of its own past. Times are seconds
/// since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its UUID.
    pub uuid: String,
    /// When it was made; `None` where it doesn't say.
    pub made: Option<u64>,
    /// All that says where things are: numbers of the superblock, in an order of its kind.
    pub geometry: Vec<u64>,
    /// Its feature words, without the bits that come and go with a mount.
    pub features: Vec<u64>,
    /// When its superblock was written last; `None` where it doesn't say.
    pub written: Option<u64>,
    /// When a check last passed over all of it; `None` where it doesn't say.
    pub checked: Option<u64>,
}
