//! Exports: devices under names, to be read by others.

use klon_partition::{Extent, ExtentMap, ReadAt, Result};
use std::sync::Arc;

/// Devices under names.
pub trait Exports: Send + Sync {
    /// What there is, in the order in which it is shown.
    fn list(&self) -> Vec<Listing>;

    /// Opens an export; `None` when there is none of that name. The empty name is the default one.
    ///
    /// # Errors
    /// What keeps the export from being read.
    fn open(&self, name: &str) -> Result<Option<Arc<Export>>>;

    /// Names of what can be told of the export's extents, beside where its data is.
    fn contexts(&self, export: &Export) -> Vec<String> {
        let _ = export;
        Vec::new()
    }

    /// Opens one of those; `None` when there is none of that name.
    ///
    /// # Errors
    /// What keeps it from being read.
    fn open_context(&self, export: &Export, name: &str) -> Result<Option<Arc<dyn Context>>> {
        let _ = (export, name);
        Ok(None)
    }
}

/// What can be told of the extents of an export.
pub trait Context: Send + Sync {
    /// The parts of `within` that have the property; when that can't be told, they have.
    fn extents(&self, within: Extent) -> ExtentMap;
}

/// An export, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its name. The default export has an empty one.
    pub name: String,
    /// What it is, for people.
    pub description: String,
}

/// An export that was opened.
pub struct Export {
    /// What it is called and is.
    pub listing: Listing,
    /// Its content.
    pub device: Arc<dyn ReadAt>,
    /// Damage of one of these, counted from `unit_start_bytes` before the device's first byte on,
    /// leaves the others readable.
    pub unit_bytes: u64,
    /// Where in such a unit the device begins.
    pub unit_start_bytes: u64,
}

impl Export {
    /// An export of a device. Damage of the device stays within its sectors.
    #[must_use]
    pub fn new(listing: Listing, device: Arc<dyn ReadAt>) -> Self {
        Self {
            listing,
            device,
            unit_bytes: 1 << 16,
            unit_start_bytes: 0,
        }
    }

    /// Its size.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.device.geometry().size_bytes
    }
}
