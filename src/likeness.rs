//! What tells one volume or disk from another.

use klon_partition::filesystem::{Kind, Summary};
use klon_partition::inspect::DiskLayout;
use klon_partition::table::{Partition, Table};

/// The filesystem on a partition of a disk, or on all of it.
pub fn volume_of<'a>(layout: &'a DiskLayout, partition: Option<&Partition>) -> Option<&'a Summary> {
    let mut volumes = layout.volumes.iter();
    let volume = volumes.find(|volume| match partition {
        Some(partition) => volume.extent == partition.extent,
        None => volume.partition.is_none(),
    });
    volume.and_then(|volume| volume.filesystem.as_ref())
}

/// What tells a volume or a disk from others.
#[derive(PartialEq, Eq)]
pub struct Likeness {
    filesystem: Option<(Kind, Option<String>)>,
    table: Option<(Option<String>, u32)>,
}

impl Likeness {
    /// The likeness of a volume with this filesystem, or of a disk with this table.
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
