//! A filesystem of which klon knows the name and no more: it is copied whole.

use super::{ChangeToken, Filesystem, Hazard, Summary};
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;

/// A filesystem recognised by its signature, or one too damaged to be read further.
#[derive(Clone, Debug)]
pub(super) struct Named {
    summary: Summary,
}

impl Named {
    pub(super) const fn new(summary: Summary) -> Self {
        Self { summary }
    }

    /// What it says of itself, with one hazard more.
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
