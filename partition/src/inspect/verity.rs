//! Partitions that dm-verity protects. Its hash tree covers their free blocks too, so a copy without
//! the free blocks doesn't boot.

use crate::bytes::{le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::outside::first_with;
use crate::table::{Partition, PartitionType, Table};
use uuid::{Uuid, uuid};

/// Types of partitions of data, and of their hash trees, by the Discoverable Partitions
/// Specification: / and /usr of each architecture.
const TYPES: &[(Uuid, Uuid)] = &[
    // root, x86
    (
        uuid!("44479540-f297-41b2-9af7-d131d5f0458a"),
        uuid!("d13c5d3b-b5d1-422a-b29f-9454fdc89d76"),
    ),
    // root, x86-64
    (
        uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        uuid!("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
    ),
    // root, Alpha
    (
        uuid!("6523f8ae-3eb1-4e2a-a05a-18b695ae656f"),
        uuid!("fc56d9e9-e6e5-4c06-be32-e74407ce09a5"),
    ),
    // root, ARC
    (
        uuid!("d27f46ed-2919-4cb8-bd25-9531f3c16534"),
        uuid!("24b2d975-0f97-4521-afa1-cd531e421b8d"),
    ),
    // root, ARM
    (
        uuid!("69dad710-2ce4-4e3c-b16c-21a1d49abed3"),
        uuid!("7386cdf2-203c-47a9-a498-f2ecce45a2d6"),
    ),
    // root, ARM-64
    (
        uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"),
        uuid!("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
    ),
    // root, IA-64
    (
        uuid!("993d8d3d-f80e-4225-855a-9daf8ed7ea97"),
        uuid!("86ed10d5-b607-45bb-8957-d350f23d0571"),
    ),
    // root, LoongArch-64
    (
        uuid!("77055800-792c-4f94-b39a-98c91b762bb6"),
        uuid!("f3393b22-e9af-4613-a948-9d3bfbd0c535"),
    ),
    // root, MIPS-32 LE
    (
        uuid!("37c58c8a-d913-4156-a25f-48b1b64e07f0"),
        uuid!("d7d150d2-2a04-4a33-8f12-16651205ff7b"),
    ),
    // root, MIPS-64 LE
    (
        uuid!("700bda43-7a34-4507-b179-eeb93d7a7ca3"),
        uuid!("16b417f8-3e06-4f57-8dd2-9b5232f41aa6"),
    ),
    // root, PPC
    (
        uuid!("1de3f1ef-fa98-47b5-8dcd-4a860a654d78"),
        uuid!("98cfe649-1588-46dc-b2f0-add147424925"),
    ),
    // root, PPC64
    (
        uuid!("912ade1d-a839-4913-8964-a10eee08fbd2"),
        uuid!("9225a9a3-3c19-4d89-b4f6-eeff88f17631"),
    ),
    // root, PPC64LE
    (
        uuid!("c31c45e6-3f39-412e-80fb-4809c4980599"),
        uuid!("906bd944-4589-4aae-a4e4-dd983917446a"),
    ),
    // root, RISC-V-32
    (
        uuid!("60d5a7fe-8e7d-435c-b714-3dd8162144e1"),
        uuid!("ae0253be-1167-4007-ac68-43926c14c5de"),
    ),
    // root, RISC-V-64
    (
        uuid!("72ec70a6-cf74-40e6-bd49-4bda08e8f224"),
        uuid!("b6ed5582-440b-4209-b8da-5ff7c419ea3d"),
    ),
    // root, S390
    (
        uuid!("08a7acea-624c-4a20-91e8-6e0fa67d23f9"),
        uuid!("7ac63b47-b25c-463b-8df8-b4a94e6c90e1"),
    ),
    // root, S390X
    (
        uuid!("5eead9a9-fe09-4a1e-a1d7-520d00531306"),
        uuid!("b325bfbe-c7be-4ab8-8357-139e652d2f6b"),
    ),
    // root, TILE-Gx
    (
        uuid!("c50cdd70-3862-4cc3-90e1-809a8c93ee2c"),
        uuid!("966061ec-28e4-4b2e-b4a5-1f0a825a1d84"),
    ),
    // /usr, x86
    (
        uuid!("75250d76-8cc6-458e-bd66-bd47cc81a812"),
        uuid!("8f461b0d-14ee-4e81-9aa9-049b6fb97abd"),
    ),
    // /usr, x86-64
    (
        uuid!("8484680c-9521-48c6-9c11-b0720656f69e"),
        uuid!("77ff5f63-e7b6-4633-acf4-1565b864c0e6"),
    ),
    // /usr, Alpha
    (
        uuid!("e18cf08c-33ec-4c0d-8246-c6c6fb3da024"),
        uuid!("8cce0d25-c0d0-4a44-bd87-46331bf1df67"),
    ),
    // /usr, ARC
    (
        uuid!("7978a683-6316-4922-bbee-38bff5a2fecc"),
        uuid!("fca0598c-d880-4591-8c16-4eda05c7347c"),
    ),
    // /usr, ARM
    (
        uuid!("7d0359a3-02b3-4f0a-865c-654403e70625"),
        uuid!("c215d751-7bcd-4649-be90-6627490a4c05"),
    ),
    // /usr, ARM-64
    (
        uuid!("b0e01050-ee5f-4390-949a-9101b17104e9"),
        uuid!("6e11a4e7-fbca-4ded-b9e9-e1a512bb664e"),
    ),
    // /usr, IA-64
    (
        uuid!("4301d2a6-4e3b-4b2a-bb94-9e0b2c4225ea"),
        uuid!("6a491e03-3be7-4545-8e38-83320e0ea880"),
    ),
    // /usr, LoongArch-64
    (
        uuid!("e611c702-575c-4cbe-9a46-434fa0bf7e3f"),
        uuid!("f46b2c26-59ae-48f0-9106-c50ed47f673d"),
    ),
    // /usr, MIPS-32 LE
    (
        uuid!("0f4868e9-9952-4706-979f-3ed3a473e947"),
        uuid!("46b98d8d-b55c-4e8f-aab3-37fca7f80752"),
    ),
    // /usr, MIPS-64 LE
    (
        uuid!("c97c1f32-ba06-40b4-9f22-236061b08aa8"),
        uuid!("3c3d61fe-b5f3-414d-bb71-8739a694a4ef"),
    ),
    // /usr, PPC
    (
        uuid!("7d14fec5-cc71-415d-9d6c-06bf0b3c3eaf"),
        uuid!("df765d00-270e-49e5-bc75-f47bb2118b09"),
    ),
    // /usr, PPC64
    (
        uuid!("2c9739e2-f068-46b3-9fd0-01c5a9afbcca"),
        uuid!("bdb528a5-a259-475f-a87d-da53fa736a07"),
    ),
    // /usr, PPC64LE
    (
        uuid!("15bb03af-77e7-4d4a-b12b-c0d084f7491c"),
        uuid!("ee2b9983-21e8-4153-86d9-b6901a54d1ce"),
    ),
    // /usr, RISC-V-32
    (
        uuid!("b933fb22-5c3f-4f91-af90-e2bb0fa50702"),
        uuid!("cb1ee4e3-8cd0-4136-a0a4-aa61a32e8730"),
    ),
    // /usr, RISC-V-64
    (
        uuid!("beaec34b-8442-439b-a40b-984381ed097d"),
        uuid!("8f1056be-9b05-47c4-81d6-be53128e5b54"),
    ),
    // /usr, S390
    (
        uuid!("cd0f869b-d0fb-4ca0-b141-9ea87cc78d66"),
        uuid!("b663c618-e7bc-4d6d-90aa-11b756bb1797"),
    ),
    // /usr, S390X
    (
        uuid!("8a4f5770-50aa-4ed3-874a-99b710db6fea"),
        uuid!("31741cc4-1a2a-4111-a581-e00b447d2d06"),
    ),
    // /usr, TILE-Gx
    (
        uuid!("55497029-c7c1-44cc-aa39-815ed1558630"),
        uuid!("2fb4bf56-07fa-42da-8132-6b139f2026ae"),
    ),
];

/// How far a hash tree is looked for in a partition of its own.
const NEAR_BYTES: u64 = 4 << 20;
/// Length of a superblock of dm-verity.
const SUPERBLOCK_BYTES: usize = 512;
/// cryptsetup, "Verity superblock".
const MAGIC: [u8; 8] = *b"verity\0\0";

/// Whether the table has a partition for the hash tree of `partition`, by their types.
pub(super) fn is_protected(table: &Table, partition: &Partition) -> bool {
    let PartitionType::Gpt(own) = partition.partition_type else {
        return false;
    };
    let hash = TYPES.iter().find(|(data, _)| *data == own);
    hash.is_some_and(|&(_, hash)| {
        let has_type = |it: &Partition| it.partition_type == PartitionType::Gpt(hash);
        table.partitions.iter().any(has_type)
    })
}

/// How much data the first hash tree in `volume` covers; `None` where none is near its start.
pub(super) fn covered_within(volume: &dyn ReadAt) -> Result<Option<u64>> {
    let near = volume.geometry().size_bytes.min(NEAR_BYTES);
    let near = Extent::new(0, near).map(ExtentMap::from);
    match first_with(volume, &near.unwrap_or_default(), MAGIC)? {
        Some(at) => covered_bytes(volume, at),
        None => Ok(None),
    }
}

/// How much data a hash tree at `at_bytes` of `volume` covers; `None` without one.
pub(super) fn covered_bytes(volume: &dyn ReadAt, at_bytes: u64) -> Result<Option<u64>> {
    let left_bytes = volume.geometry().size_bytes.checked_sub(at_bytes);
    if left_bytes.is_none_or(|left_bytes| left_bytes < SUPERBLOCK_BYTES as u64) {
        return Ok(None);
    }
    let raw = read_vec(volume, at_bytes, SUPERBLOCK_BYTES)?;
    if !raw.starts_with(&MAGIC) {
        return Ok(None);
    }
    let (block_bytes, blocks) = (u64::from(le32(&raw, 64)), le64(&raw, 72));
    Ok(blocks.checked_mul(block_bytes).filter(|&bytes| bytes > 0))
}

#[cfg(test)]
mod tests {
    use super::{TYPES, covered_bytes, covered_within};
    use crate::device::MemoryDevice;
    use std::collections::HashSet;

    #[test]
    fn no_type_is_listed_twice() {
        let all = TYPES.iter().flat_map(|(data, hash)| [data, hash]);
        assert_eq!(all.collect::<HashSet<_>>().len(), 2 * TYPES.len());
    }

    #[test]
    fn a_hash_tree_says_how_much_it_covers() {
        let mut raw = vec![0; 4096];
        let found = |raw: &[u8]| covered_bytes(&MemoryDevice::new(raw.to_vec(), 512), 0).unwrap();
        assert_eq!(found(&raw), None);
        assert_eq!(found(&raw[..100]), None);
        raw[..8].copy_from_slice(b"verity\0\0");
        assert_eq!(found(&raw), None, "of nothing");
        raw[64..68].copy_from_slice(&4096_u32.to_le_bytes());
        raw[72..80].copy_from_slice(&25_600_u64.to_le_bytes());
        assert_eq!(found(&raw), Some(100 << 20));
        let mut later = vec![1; 1 << 20];
        later.extend(&raw);
        let volume = MemoryDevice::new(later, 512);
        assert_eq!(covered_bytes(&volume, 0).unwrap(), None);
        assert_eq!(covered_within(&volume).unwrap(), Some(100 << 20));
        raw[72..80].fill(255);
        assert_eq!(found(&raw), None, "more than there can be");
    }
}
