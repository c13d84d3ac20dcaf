//! A filesystem that klon knows only by name. It is copied whole.

use super::{ChangeToken, Filesystem, Hazard, Summary};
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;

/// A filesystem recognized by its signature, or one that is too damaged to be read further.
#[derive(Clone, Debug)]
pub(super) struct Named {
    summary: Summary,
}

impl Named {
    pub(super) const fn new(summary: Summary) -> Self {
        Self { summary }
    }

    /// Adds a hazard to what it says of itself.
    pub(super) fn with_hazard(mut self, hazard: Hazard) -> Self {
        self.summary.hazards.push(hazard);
        self
    }
}

impl Filesystem for Named {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn used(&self, _device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        Ok(None)
    }

    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }
}
