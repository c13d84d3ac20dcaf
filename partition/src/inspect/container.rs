//! Partitions that hold more than the filesystem at their start, as their type or a hash tree beside
//! them says.

use super::{data_partitions, verity};
use crate::device::{ReadAt, Window};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{Summary, recognize};
use crate::table::{Partition, PartitionType, Table, hybrid_entries, unknown_hybrid_extents};
use uuid::{Uuid, uuid};

/// Types of MBR partitions that other layers divide further. A. E. Brouwer, "Partition types: List
/// of partition identifiers for PCs".
const MBR_TYPES: &[(u8, &str)] = &[
    (0x35, "a volume of the OS/2 logical volume manager"),
    (0x42, "a Windows dynamic disk"),
    (0x63, "a UNIX System V disk with slices of its own"),
    (0x80, "a Minix disk with a table of its own"),
    (0x81, "a Minix disk with a table of its own"),
    (0x86, "a member of a volume set of Windows NT"),
    (0x87, "a member of a volume set of Windows NT"),
    (0x8b, "a member of a volume set of Windows NT"),
    (0x8c, "a member of a volume set of Windows NT"),
    (0xa5, "a FreeBSD slice with partitions of its own"),
    (0x9f, "a BSDI slice with partitions of its own"),
    (0xa6, "an OpenBSD slice with partitions of its own"),
    (0xa7, "a NeXTSTEP slice with partitions of its own"),
    (0xa8, "a Darwin slice"),
    (0xa9, "a NetBSD slice with partitions of its own"),
    (0xab, "a Darwin boot slice"),
    (0xb6, "a member of a volume set of Windows NT"),
    (0xb7, "a BSDI slice with partitions of its own"),
    (0xb8, "a BSDI slice with partitions of its own"),
    (0xbe, "a Solaris boot partition"),
    (0xbf, "a Solaris partition with slices of its own"),
    (0xc6, "a member of a volume set of Windows NT"),
    (0xc7, "a member of a volume set of Windows NT"),
    (0xcb, "a member of a volume set of Windows NT"),
    (0xcc, "a member of a volume set of Windows NT"),
    (0xfb, "a volume of VMware VMFS"),
    (0xfc, "a core dump of VMware"),
];

/// Types of GPT, as Microsoft, the BSDs, Apple, VMware and ChromiumOS document them.
const GPT_TYPES: &[(Uuid, &str)] = &[
    (
        uuid!("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3"),
        "the database of a Windows dynamic disk",
    ),
    (
        uuid!("af9b60a0-1431-4f62-bc68-3311714a69ad"),
        "a Windows dynamic disk",
    ),
    (
        uuid!("e75caf8f-f680-4cee-afa3-b001e56efc2d"),
        "a member of Windows Storage Spaces",
    ),
    (
        uuid!("516e7cb4-6ecf-11d6-8ff8-00022d09712b"),
        "a FreeBSD disk label with partitions of its own",
    ),
    (
        uuid!("516e7cb8-6ecf-11d6-8ff8-00022d09712b"),
        "a member of FreeBSD Vinum",
    ),
    (
        uuid!("824cc7a0-36a8-11e3-890a-952519ad3f61"),
        "an OpenBSD disk label with partitions of its own",
    ),
    (
        uuid!("9d087404-1ca5-11dc-8817-01301bb8a9f5"),
        "a DragonFly disk label with partitions of its own",
    ),
    (
        uuid!("3d48ce54-1d16-11dc-8696-01301bb8a9f5"),
        "a DragonFly disk label with partitions of its own",
    ),
    (
        uuid!("85d5e45a-237c-11e1-b4b3-e89a8f7fc3a7"),
        "a MidnightBSD disk label with partitions of its own",
    ),
    (
        uuid!("2db519ec-b10f-11dc-b99b-0019d1879648"),
        "an encrypted disk of NetBSD",
    ),
    (
        uuid!("aa31e02a-400f-11db-9590-000c2911d1b8"),
        "a volume of VMware VMFS",
    ),
    (
        uuid!("52414944-5f4f-11aa-aa11-00306543ecac"),
        "a member of an Apple RAID that is offline",
    ),
    (
        uuid!("2db519c4-b10f-11dc-b99b-0019d1879648"),
        "a member of NetBSD's concatenated disks",
    ),
    (
        uuid!("49f48daa-b10e-11dc-b99b-0019d1879648"),
        "a member of a NetBSD RAID",
    ),
    (
        uuid!("52414944-0000-11aa-aa11-00306543ecac"),
        "a member of an Apple RAID",
    ),
    (
        uuid!("53746f72-6167-11aa-aa11-00306543ecac"),
        "an Apple Core Storage volume",
    ),
    (
        uuid!("3cb8e202-3b7e-47dd-8a3c-7ff2a13cfcec"),
        "a ChromeOS root, which a hash tree covers",
    ),
];

/// What a disk says of its partitions beside their types.
pub(super) struct Beside {
    /// Hash trees of dm-verity: how much data each covers.
    hash_trees: Vec<u64>,
    /// What a hybrid MBR lists.
    hybrid: Vec<(Extent, u8)>,
    /// The bytes of it in no entry of the GPT.
    unknown: ExtentMap,
}

impl Beside {
    pub(super) fn read(disk: &dyn ReadAt, table: &Table) -> Result<Self> {
        Ok(Self {
            hash_trees: hash_trees(disk, table)?,
            hybrid: hybrid_entries(disk, table)?,
            unknown: unknown_hybrid_extents(disk, table)?,
        })
    }

    /// What a hybrid MBR calls a partition that has bytes there.
    fn called(&self, place: Extent) -> Option<&'static str> {
        let mut others = self.hybrid.iter().filter(|(it, _)| it.overlaps(place));
        others.find_map(|(_, byte)| find(MBR_TYPES, byte))
    }
}

/// Hash trees of dm-verity in partitions of their own: how much data each covers.
fn hash_trees(disk: &dyn ReadAt, table: &Table) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for partition in data_partitions(table) {
        let volume = Window::new(disk, partition.extent)?;
        // Before the tree there may be room for something else; a filesystem would have claimed it.
        match recognize(&volume)? {
            None => found.extend(verity::covered_within(&volume)?),
            Some(_) => found.extend(verity::covered_bytes(&volume, 0)?),
        }
    }
    Ok(found)
}

/// Why all of a partition must be copied, although its filesystem proves some of it free.
pub(super) fn whole_because(
    table: &Table,
    partition: &Partition,
    summary: &Summary,
    beside: &Beside,
) -> Option<String> {
    let kind = summary.kind;
    if let Some(what) = by_type(partition.partition_type) {
        return Some(format!(
            "its type says {what}: it may hold more than the {kind} at its start"
        ));
    }
    if let Some(what) = beside.called(partition.extent) {
        return Some(format!(
            "a hybrid MBR calls it {what}: it may hold more than the {kind} at its start"
        ));
    }
    if beside.unknown.within(partition.extent).next().is_some() {
        return Some(format!(
            "a hybrid MBR lists another partition there, which may hold data where the {kind} has \
             free blocks"
        ));
    }
    // A tree may cover more than the filesystem.
    let own_bytes = summary.size_bytes..=partition.extent.len_bytes();
    let is_covered = beside
        .hash_trees
        .iter()
        .any(|bytes| own_bytes.contains(bytes));
    (is_covered || verity::is_protected(table, partition)).then(|| {
        format!("dm-verity protects it: its hash tree covers the free blocks of the {kind}, too")
    })
}

fn by_type(partition_type: PartitionType) -> Option<&'static str> {
    match partition_type {
        PartitionType::Mbr(byte) => find(MBR_TYPES, &byte),
        PartitionType::Gpt(guid) => find(GPT_TYPES, &guid),
    }
}

fn find<T: PartialEq>(types: &[(T, &'static str)], wanted: &T) -> Option<&'static str> {
    let found = types.iter().find(|(known, _)| known == wanted);
    found.map(|(_, what)| *what)
}
