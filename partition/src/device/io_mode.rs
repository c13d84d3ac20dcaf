//! Whether I/O goes past the page cache.

use std::fmt;

/// How a device is read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoMode {
    /// Past the page cache (O_DIRECT).
    Direct,
    /// Through the page cache, and why.
    Buffered {
        /// What keeps I/O from being direct.
        reason: String,
    },
}

impl fmt::Display for IoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Buffered { reason } => write!(f, "buffered: {reason}"),
        }
    }
}
