//! Filesystems that nothing writes to: in use from the start to their end. They prove nothing free.

use super::{ChangeToken, Filesystem, Summary};
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;

/// An image of a filesystem: ISO 9660, squashfs, EROFS.
#[derive(Clone, Debug)]
pub(super) struct ReadOnly {
    summary: Summary,
    /// What is in use, or why all of the volume has to be taken as used.
    used: std::result::Result<ExtentMap, String>,
}

impl ReadOnly {
    /// A filesystem that has `used` and nothing else, on a volume that may hold more: hash trees
    /// of dm-verity, signatures, overlays and further sessions are put behind its end.
    pub(super) fn new(summary: Summary, used: ExtentMap) -> Self {
        if !summary.hazards.is_empty() {
            return Self::whole(summary, "nothing shows where it ends");
        }
        let used = Ok(used);
        Self { summary, used }
    }

    /// A filesystem that can't be trusted to have nothing but what it says, and why.
    pub(super) fn whole(summary: Summary, reason: &str) -> Self {
        let used = Err(format!("{}: {reason}", summary.kind));
        Self { summary, used }
    }
}

impl Filesystem for ReadOnly {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn used(&self, _device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        Ok(self.used.as_ref().ok().cloned())
    }

    /// 0: the filesystem frees nothing, so all that is known are the bytes that it has.
    fn end_bytes(&self) -> u64 {
        0
    }

    fn whole_because(&self) -> String {
        self.used.as_ref().err().cloned().unwrap_or_default()
    }

    /// None: nothing counts mounts, because no mount writes, and one image can be replaced by
    /// another whose superblock is the same to the bit (times and sizes may be equal).
    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }
}
