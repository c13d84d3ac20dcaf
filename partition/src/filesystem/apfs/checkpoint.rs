//! Checkpoints: finding the newest one, and the objects that it keeps in memory while mounted.
//!
//! Each transaction writes its ephemeral objects into the checkpoint data area, then maps of them
//! and at last a container superblock into the checkpoint descriptor area; both areas are rings
//! (Apple File System Reference, "Container", "Mounting an Apple File System Partition").

use super::object::{Block, CHECKPOINT_MAP, NX_SUPERBLOCK, Object, SPACEMAN};
use super::superblock::{self, Superblock};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};

/// `CHECKPOINT_MAP_LAST`.
const MAP_LAST: u32 = 1;
/// `checkpoint_map_phys_t` before its mappings, and `checkpoint_mapping_t`.
const MAP_BYTES: usize = 40;
const MAPPING_BYTES: usize = 40;
/// More than a space manager of any size in use.
const OBJECT_BYTES_MAX: u64 = 32 << 20;
/// How much of the descriptor area is read at once.
const PIECE_BLOCKS: u64 = 64;

/// The newest checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) superblock: Superblock,
    /// Which block of the descriptor area its superblock is.
    index: u64,
}

impl Checkpoint {
    /// Finds the superblock with the highest transaction identifier among the descriptors of
    /// which block 0, `zero`, tells.
    ///
    /// A torn superblock could be passed over, as drivers do: all that the checkpoint before has
    /// is still there. But bits could also have gone bad in what was a newer checkpoint.
    ///
    /// # Errors
    /// [`Corrupt`] when any superblock there fails its checks or there is none, and
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn newest(zero: &Superblock, device: &dyn ReadAt) -> Result<Self> {
        let mut newest: Option<(Object, u64)> = None;
        let mut index = 0;
        while index < zero.descriptors.count {
            let count = PIECE_BLOCKS.min(zero.descriptors.count.saturating_sub(index));
            let start_bytes = zero.descriptor(index).offset_bytes();
            let len = zero
                .block_len()
                .saturating_mul(usize::try_from(count).unwrap_or(0));
            let piece = read_vec(device, start_bytes, len)?;
            for raw in piece.chunks_exact(zero.block_len()) {
                if superblock::has_magic(raw) {
                    let found = descriptor(zero, index, raw.to_vec())?;
                    let before = newest.as_ref().map(|(newest, _)| newest.xid());
                    let xid = found.xid();
                    let is_other = before != Some(xid);
                    found.check(is_other, "o_xid", "one of no other checkpoint", xid)?;
                    if before < Some(xid) {
                        newest = Some((found, index));
                    }
                }
                index = index.saturating_add(1);
            }
        }
        let Some((object, index)) = newest else {
            let expected = "a container superblock in the descriptor area";
            return Err(zero
                .object
                .corrupt("nx_xp_desc_base", expected, "none")
                .into());
        };
        let superblock = Superblock::check(object, device.geometry().size_bytes)?;
        let is_same = zero.descriptors == superblock.descriptors;
        let (expected, found) = (zero.descriptors.start, superblock.descriptors.start);
        superblock
            .object
            .check(is_same, "nx_xp_desc_base", expected, found)?;
        Ok(Self { superblock, index })
    }

    /// The space manager, put together from the checkpoint data area.
    ///
    /// # Errors
    /// [`Corrupt`] when a map or the space manager fails its checks, and [`crate::Error::Io`] when
    /// the device fails.
    pub(super) fn spaceman(&self, device: &dyn ReadAt) -> Result<Object> {
        let superblock = &self.superblock;
        // nx_spaceman_oid
        let wanted = superblock.object.u64(152);
        let mut found = None;
        for (place, map) in self.maps(device)?.iter().enumerate() {
            let count = map.u32(36);
            let len = usize::try_from(count).unwrap_or(usize::MAX);
            let end = len.saturating_mul(MAPPING_BYTES).saturating_add(MAP_BYTES);
            map.check(
                end <= map.raw.len(),
                "cpm_count",
                "mappings in a block",
                count,
            )?;
            let is_last = map.u32(32) & MAP_LAST != 0;
            let is_end = place.saturating_add(2) as u64 == self.len();
            map.check(is_last == is_end, "cpm_flags", "last on the last", is_last)?;
            for at in (MAP_BYTES..end).step_by(MAPPING_BYTES) {
                // cpm_oid; cpm_fs_oid is 0 for an object of the container.
                if map.u64(at.saturating_add(24)) == wanted && map.u64(at.saturating_add(16)) == 0 {
                    map.check(found.is_none(), "cpm_oid", "one space manager", "another")?;
                    found = Some(self.ephemeral(map, at, device)?);
                }
            }
        }
        let Some(spaceman) = found else {
            let none =
                superblock
                    .object
                    .corrupt("nx_spaceman_oid", "an object in the checkpoint", wanted);
            return Err(none.into());
        };
        let oid = spaceman.u64(8);
        spaceman.check(oid == wanted, "o_oid", wanted, oid)?;
        let (expected, xid) = (superblock.xid(), spaceman.xid());
        spaceman.check(xid == expected, "o_xid", expected, xid)?;
        Ok(spaceman)
    }

    /// `nx_xp_desc_len`: how many maps, and one superblock.
    fn len(&self) -> u64 {
        self.superblock.object.u32(140).into()
    }

    /// The maps, which lie before the superblock in the ring.
    fn maps(&self, device: &dyn ReadAt) -> Result<Vec<Object>> {
        let superblock = &self.superblock;
        let ring = superblock.descriptors.count;
        let len = self.len();
        let expected = format!("2 to {ring}");
        let is_len = (2..=ring).contains(&len);
        superblock
            .object
            .check(is_len, "nx_xp_desc_len", expected, len)?;
        let mut maps = Vec::new();
        for back in (1..len).rev() {
            let index = self.index.saturating_add(ring).saturating_sub(back) % ring;
            let block = superblock.descriptor(index);
            let map = Object::read_physical("APFS checkpoint map", CHECKPOINT_MAP, block, device)?;
            let (expected, xid) = (superblock.xid(), map.xid());
            map.check(xid == expected, "o_xid", expected, xid)?;
            maps.push(map);
        }
        Ok(maps)
    }

    /// The object that the mapping at `at` of `map` is about; objects may go around in the ring.
    fn ephemeral(&self, map: &Object, at: usize, device: &dyn ReadAt) -> Result<Object> {
        let superblock = &self.superblock;
        let block_bytes = u64::from(superblock.block_size_bytes);
        let size_bytes = u64::from(map.u32(at.saturating_add(8)));
        let ring_bytes = superblock.data.count.saturating_mul(block_bytes);
        let size_max = ring_bytes.min(OBJECT_BYTES_MAX);
        let is_size = size_bytes.is_multiple_of(block_bytes)
            && (block_bytes..=size_max).contains(&size_bytes);
        let expected = format!("whole blocks, at most {size_max}");
        map.check(is_size, "cpm_size", expected, size_bytes)?;
        let start = map.u64(at.saturating_add(32));
        let is_inside = superblock.data.contains(start);
        map.check(is_inside, "cpm_paddr", "in the checkpoint data area", start)?;
        let ahead = superblock.data.end().saturating_sub(start);
        let ahead_bytes = ahead.saturating_mul(block_bytes).min(size_bytes);
        let read = |block: u64, len_bytes: u64| {
            let len = usize::try_from(len_bytes).unwrap_or(usize::MAX);
            read_vec(device, block.saturating_mul(block_bytes), len)
        };
        let mut raw = read(start, ahead_bytes)?;
        raw.extend(read(
            superblock.data.start,
            size_bytes.saturating_sub(ahead_bytes),
        )?);
        let offset_bytes = start.saturating_mul(block_bytes);
        Ok(Object::parse(
            "APFS space manager",
            SPACEMAN,
            offset_bytes,
            raw,
        )?)
    }
}

impl Superblock {
    /// A block of the descriptor area.
    fn descriptor(&self, index: u64) -> Block {
        Block {
            number: self.descriptors.start.saturating_add(index),
            size_bytes: self.block_size_bytes,
        }
    }
}

/// A superblock among the descriptors, of the container of which block 0 is.
fn descriptor(zero: &Superblock, index: u64, raw: Vec<u8>) -> std::result::Result<Object, Corrupt> {
    let offset_bytes = zero.descriptor(index).offset_bytes();
    let object = Object::parse(superblock::STRUCTURE, NX_SUPERBLOCK, offset_bytes, raw)?;
    let uuids = [&zero.object, &object].map(|object| superblock::uuid(&object.raw));
    let [expected, uuid] = uuids.map(Option::unwrap_or_default);
    object.check(expected == uuid, "nx_uuid", expected, &uuid)?;
    Ok(object)
}
