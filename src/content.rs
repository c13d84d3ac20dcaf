//! What a volume or a disk is told apart by.

use klon_partition::filesystem::{Kind, Summary};
use klon_partition::table::Table;

/// What a volume or a disk is told apart by.
#[derive(PartialEq, Eq)]
pub struct Content {
    filesystem: Option<(Kind, Option<String>)>,
    table: Option<(Option<String>, u32)>,
}

impl Content {
    /// Of a volume with this filesystem, or a disk with this table.
    pub fn new(filesystem: Option<&Summary>, table: Option<&Table>) -> Self {
        Self {
            filesystem: filesystem.map(|summary| (summary.kind, summary.uuid.clone())),
            table: table.map(|table| {
                let guid = table.disk_guid.map(|guid| guid.to_string());
                (guid, table.disk_signature)
            }),
        }
    }

    /// Whether two volumes with it are an original and its copy.
    pub fn is_unique(&self) -> bool {
        self.table.is_some() || matches!(self.filesystem, Some((_, Some(_))))
    }
}
